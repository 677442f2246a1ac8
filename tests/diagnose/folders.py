"""Folders of trainings, as `archaeology train` writes them: by hand, or by really training something tiny."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archaeology.core.errors import TrainingFailedError
from archaeology.models.registry import build
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.trackers import open_trackers

CLASSES = ("red", "green", "blue", "grey")
SIZE = 16
VIT = {"image_size": SIZE, "patch_size": 4, "num_classes": 4, "embed_dim": 32, "depth": 2, "num_heads": 4}


def written(
    folder: Path,
    losses: Sequence[float | None],
    *,
    rates: Sequence[float] | None = None,
    config: dict[str, Any] | None = None,
    finished: bool = True,
    card: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A folder with these losses, a line every 50 steps; `more` goes into `run.json`, norms are those given there."""
    norms = more.pop("norms", [1.0] * len(losses))
    folder.mkdir(parents=True, exist_ok=True)
    rates = rates or [1 - place / len(losses) for place in range(len(losses))]
    lines = [
        {
            "step": 50 * (place + 1),
            "epoch": (place + 1) / 2,
            "seconds": 5.0 * (place + 1),
            "progress": (place + 1) / len(losses) if finished else (place + 1) / (4 * len(losses)),
            "loss": loss,
            "rate": rate,
            "learning_rate": 0.02 * rate,
            "gradient_norm": norm,
        }
        for place, (loss, rate, norm) in enumerate(zip(losses, rates, norms, strict=True))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    described = {"format": 1, "architecture": "vit", "arguments": {}, "classes": list(CLASSES), "facts": {}}
    (folder / "config.json").write_text(json.dumps({**described, **(card or {})}))
    settings = {
        "learning_rate": 0.02,
        "batch_size": 100,
        "warmup": 0.03,
        "schedule": "linear",
        **(config or {}),
    }
    if finished:
        (folder / "run.json").write_text(json.dumps({"config": settings, **more}))
    return folder


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with a square somewhere; the class is the channel in which it shines (none of them: grey)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, SIZE, SIZE, generator=generator)
    labels = torch.arange(count) % 4
    corners = torch.randint(0, SIZE - 6, (count, 2), generator=generator).tolist()
    for image, label, (top, left) in zip(images, labels.tolist(), corners, strict=True):
        square = image[:, top : top + 6, left : left + 6]
        square.mul_(0.3)
        square[[label] if label < 3 else slice(None)] += 0.6 if label < 3 else 0.3
    return images, labels


def trained(
    folder: Path,
    *,
    count: int = 512,
    epochs: float = 12,
    arguments: dict[str, Any] | None = None,
    spoil: Callable[[nn.Module], None] | None = None,
    shuffle_labels: bool = False,
    **options: Any,
) -> Path:
    """A ViT really trained on scenes, into a folder as the recipes write it.

    Args:
        folder: Made here.
        count: Training images.
        epochs: Over them.
        arguments: Of the ViT, besides the small ones.
        spoil: Done to the model after every epoch and at the end.
        shuffle_labels: Whether training labels say nothing.
        options: Of `TrainConfig`.
    """
    settings = {
        "optimizer": "adamw",
        "learning_rate": 0.003,
        "batch_size": 32,
        "log_every": 4,
        "device": "cpu",
    }
    config = TrainConfig.model_validate({"dtype": "float32", "epochs": epochs, **settings, **options})
    torch.manual_seed(config.seed)
    built = {**VIT, **(arguments or {})}
    model = build("vit", built)
    images, labels = scenes(count, seed=0)
    if shuffle_labels:
        labels = labels[torch.randperm(count, generator=torch.Generator().manual_seed(5))]
    others, truth = scenes(400, seed=1)

    def prepared(pixels: Tensor) -> Tensor:
        return (pixels - 0.5) / 0.25

    def batches(epoch: int):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch))
        for chosen in order.split(config.batch_size):
            if len(chosen) == min(config.batch_size, count):
                yield prepared(images[chosen]), labels[chosen]

    def save(**facts: Any) -> None:
        (spoil or (lambda _: None))(model)
        save_checkpoint(
            folder,
            model.state_dict(),
            architecture="vit",
            arguments=built,
            classes=CLASSES,
            image_size=(SIZE, SIZE),
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
            facts={
                "recipe": "scenes",
                "config": config.model_dump(),
                "data": {"num_training": count},
                **facts,
            },
        )

    @torch.no_grad()
    def glance(epoch: int) -> dict[str, float]:
        save(state=f"unfinished, after {epoch + 1} epochs")
        model.eval()
        right = {
            name: float((model(prepared(some)).argmax(1) == names).double().mean())
            for name, some, names in (("train", images[:400], labels[:400]), ("test", others, truth))
        }
        model.train()
        return {f"{name}_accuracy_glance": value for name, value in right.items()}

    trackers = open_trackers(folder)
    save(state="unfinished")
    try:
        taken = train(
            model,
            batches,
            max(1, count // config.batch_size),
            config,
            trackers=trackers,
            folder=folder,
            on_epoch=glance,
        )
    except TrainingFailedError:
        return folder
    finally:
        for tracker in trackers:
            tracker.close()
    save()
    record = {"config": config.model_dump(), "data": {"num_training": count}, "recipe": "scenes"}
    (folder / "run.json").write_text(json.dumps({**record, "trained": {"steps": taken.steps}}))
    return folder
