"""The loop: predict, compare, step, with rates that follow progress and numbers written as they come."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from archaeology.core.device import choose_device
from archaeology.core.errors import TrainingFailedError
from archaeology.training.adversarial import Adversary
from archaeology.training.config import TrainConfig
from archaeology.training.failure import record_failure
from archaeology.training.runtime import Runtime
from archaeology.training.session import Batches, Session
from archaeology.training.session import Trained as Trained
from archaeology.training.step import Objective
from archaeology.training.trackers import Tracker


def train(
    model: nn.Module,
    batches: Batches,
    steps_per_epoch: int,
    config: TrainConfig,
    *,
    trackers: Sequence[Tracker] = (),
    runtime: Runtime | None = None,
    folder: Path | None = None,
    on_progress: Callable[[float], None] | None = None,
    on_epoch: Callable[[int], dict[str, float]] | None = None,
    objective: Objective | None = None,
    adversary: Adversary | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Trained:
    """Train `model` in place; with averaged weights (`config.ema`), it ends with the average.

    PyTorch's global generator is seeded anew in every step, so a training that was stopped goes on bit for bit.

    Args:
        model: Maps prepared images to logits, or whatever the objective compares.
        batches: Called with the number of the epoch; yields (images ready for the model, targets) for this process,
            its share of a batch each time. Both are a tensor, or a tuple of tensors, image by image.
        steps_per_epoch: How many batches an epoch has.
        config: How to train.
        trackers: Where the numbers go; of the main process only.
        runtime: This process among others; None for one alone on `config.device`.
        folder: Of the run. There the state is kept, and what broke the training; if it was stopped there before,
            it goes on. None keeps nothing.
        on_progress: Called with the progress before every step, to change what a schedule changes.
        on_epoch: Called after every epoch; its numbers are tracked. With averaged weights, the model has them then.
        objective: From what the model says (at least float32) and what it should say to a loss; None takes
            cross-entropy, with the label smoothing of `config`.
        adversary: Changes the images of every step, so that the model learns from those it finds hardest.
        identity: What else must be the same when a training goes on: its data, its teacher.

    Returns:
        What it took, what was done before it was stopped included.

    Raises:
        NonFiniteLossError: If the loss is not finite; says at which step and learning rate.
        OutOfMemoryError: If a step does not fit into memory; says which batch would.
        ValueError: If the folder holds an unfinished training with another configuration.
        OSError: If the state cannot be saved.
    """
    runtime = runtime or Runtime(choose_device(config.device))
    runtime.share_of(config.batch_size)
    objective = objective or partial(F.cross_entropy, label_smoothing=config.label_smoothing)
    with _threads(config.threads):
        session = Session(
            model, steps_per_epoch, config, runtime, objective, trackers, folder, identity or {}, adversary
        )
        try:
            return session.train(batches, on_progress, on_epoch)
        except TrainingFailedError as failure:
            if folder is not None and runtime.is_main:
                record_failure(folder, {**failure.facts, "config": config.model_dump()}, *session.batch)
            raise


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use `count` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
