"""Two processes on one machine: they learn what one learns, and one goes on where two were stopped."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.training.specimens import BATCH, MEAN, STD, STEPS, tiny_batches, tiny_model, tiny_training

from archaeology.core.seeding import derived_seed
from archaeology.training.adversarial import adversary_of
from archaeology.training.config import TrainConfig
from archaeology.training.optimizers import make_optimizer
from archaeology.training.runtime import Runtime
from archaeology.training.schedule import rate_factor

ALONE = Runtime(torch.device("cpu"))
SCRIPT = Path(__file__).with_name("specimens.py")


def torchrun(processes: int, folder: Path, **options) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder), json.dumps(options)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def apart(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one if one[name].numel())


@pytest.mark.parametrize(
    ("parallel", "optimizer", "rate", "apart_by"),
    [
        ("ddp", "muon", 0.01, 1e-5),
        ("fsdp", "adamw", 1e-4, 1e-5),  # a small rate: Adam's first steps magnify rounding
        (
            "fsdp",
            "muon",
            0.01,
            5e-3,
        ),  # it orthogonalises in bfloat16, by another way where matrices are split
    ],
)
def test_two_processes_equal_one_that_accumulates(tmp_path, parallel, optimizer, rate, apart_by):
    options = {
        "optimizer": optimizer,
        "learning_rate": rate,
        "clip": 0.5,
        "ema": 0.9 if parallel == "ddp" else 0.0,
    }
    torchrun(2, tmp_path, parallel=parallel, **options)
    alone, _ = tiny_training(None, ALONE, accumulate=2, **options)
    assert apart(load_file(tmp_path / "final.safetensors"), alone.state_dict()) <= apart_by


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_each_process_attacks_its_own_share_and_only_what_is_learned_from_is_shared(tmp_path, parallel):
    options = {"adversarial": "pgd", "attack_steps": 2, "epsilon": 0.05, "learning_rate": 1e-4}
    torchrun(2, tmp_path, parallel=parallel, **options)
    alone = two_shares_one_after_another(**options)
    assert apart(load_file(tmp_path / "final.safetensors"), alone.state_dict()) <= 1e-5
    assert apart(alone.state_dict(), tiny_model().state_dict()) > 1e-4  # so it did learn


def two_shares_one_after_another(**options):
    """What two processes do, by one: attack each half with the random numbers of its process, add up, move."""
    config = TrainConfig(epochs=4, batch_size=BATCH, optimizer="adamw", device="cpu", **options)
    adversary = adversary_of(config, MEAN, STD)
    assert adversary is not None
    model, batches = tiny_model(), tiny_batches(ALONE)
    optimizer = make_optimizer(model, config)
    for step in range(4 * STEPS):
        factor = rate_factor(step / (4 * STEPS), schedule=config.schedule, warmup=config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor
        images, labels = list(batches(step // STEPS))[step % STEPS]
        optimizer.zero_grad()
        for rank, (part, named) in enumerate(zip(images.chunk(2), labels.chunk(2), strict=True)):
            torch.manual_seed(derived_seed(config.seed, "step", step, rank))
            loss_of = partial(loss_of_images, model, named)
            (loss_of(adversary(part, loss_of)) / 2).backward()
        optimizer.step()
    return model


def loss_of_images(model, labels, images):
    return F.cross_entropy(model(images), labels, label_smoothing=0.1)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_process_goes_on_where_two_were_stopped(tmp_path, parallel):
    torchrun(2, tmp_path, parallel=parallel, stop_at=0.5, learning_rate=1e-4)
    resumed, taken = tiny_training(tmp_path, ALONE, parallel=parallel, learning_rate=1e-4)
    whole, _ = tiny_training(None, ALONE, learning_rate=1e-4)
    assert taken.steps == 12
    assert apart(resumed.state_dict(), whole.state_dict()) <= 1e-5
    assert apart(resumed.state_dict(), tiny_model().state_dict()) > 1e-4  # so it did learn


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(
        ValueError, match="batch_size must be a multiple of the 3 processes, but got batch_size=16"
    ):
        Runtime(torch.device("cpu"), 0, 3).share_of(16)
