"""A tiny training that tests share, in one process or in many: `python specimens.py FOLDER OPTIONS_AS_JSON`."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from archaeology.models import ViT
from archaeology.training.adversarial import adversary_of
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.runtime import Runtime, full_state, open_runtime

STEPS, BATCH = 3, 16
MEAN, STD = (0.5, 0.5, 0.5), (0.1, 0.1, 0.1)  # so that few of the images of noise leave [0, 1]


def tiny_model() -> ViT:
    torch.manual_seed(7)
    return ViT(12, 4, 3, embed_dim=24, depth=2, num_heads=3)


def tiny_batches(runtime: Runtime):
    """Epochs of three batches; each process takes its share, in order."""

    def batches(epoch: int):
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(STEPS):
            images = torch.randn(BATCH, 3, 12, 12, generator=generator)
            labels = torch.randint(0, 3, (BATCH,), generator=generator)
            size = runtime.share_of(BATCH)
            share = slice(runtime.rank * size, (runtime.rank + 1) * size)
            yield images[share], labels[share]

    return batches


class KilledError(Exception):
    """Thrown in the middle, as a kill would be."""


def die_once(folder: Path) -> None:
    """Be killed as by an operator or a machine that fails, the first time only."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def tiny_training(
    folder: Path | None, runtime: Runtime, *, stop_at: float = 2.0, die_at: float = 2.0, **options
):
    """Train for four epochs unless all stop, or the last process is killed, at a progress; the model, what it took."""
    model = tiny_model()
    settings = {"epochs": 4, "batch_size": BATCH, "device": "cpu", "dtype": "float32", "optimizer": "adamw"}
    config = TrainConfig.model_validate({**settings, "learning_rate": 0.01, **options})

    def stop(progress: float) -> None:
        model.patch_keep = 0.6 if options.get("patch_keep") else 1.0
        if folder is not None and runtime.is_main:
            with (folder / "progress.txt").open("a") as file:
                print(progress, file=file)
        if progress >= stop_at:
            raise KilledError
        if folder is not None and progress >= die_at and runtime.rank == runtime.world_size - 1:
            die_once(folder)

    taken = train(
        model,
        tiny_batches(runtime),
        STEPS,
        config,
        runtime=runtime,
        folder=folder,
        on_progress=stop,
        adversary=adversary_of(config, MEAN, STD),
    )
    return model, taken


def main() -> None:
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    with open_runtime("cpu") as runtime:
        try:
            model, _ = tiny_training(folder, runtime, **options)
        except KilledError:
            return
        state = full_state(model)
        if runtime.is_main:
            save_file(
                {name: tensor.contiguous() for name, tensor in state.items()}, folder / "final.safetensors"
            )


if __name__ == "__main__":
    main()
