"""The loop: predict, compare, step, with rates that follow progress and numbers written as they come."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archaeology.core.device import choose_device, choose_dtype
from archaeology.core.progress import progress
from archaeology.training.config import TrainConfig
from archaeology.training.optimizers import make_optimizer
from archaeology.training.schedule import progress_of, rate_factor
from archaeology.training.trackers import Tracker

Batches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]
Objective = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Trained:
    """What a training took: `steps` optimizer steps on `images` images in `seconds` of wall time."""

    steps: int
    images: int
    seconds: float
    final_loss: float


def train(
    model: nn.Module,
    batches: Batches,
    steps_per_epoch: int,
    config: TrainConfig,
    *,
    trackers: Sequence[Tracker] = (),
    on_progress: Callable[[float], None] | None = None,
    on_epoch: Callable[[int], dict[str, float]] | None = None,
    objective: Objective | None = None,
) -> Trained:
    """Train `model` in place.

    Args:
        model: Maps prepared images to logits, or whatever the objective compares.
        batches: Called with the number of the epoch; yields (images ready for the model, labels).
        steps_per_epoch: How many batches an epoch has.
        config: How to train.
        trackers: Where the numbers go.
        on_progress: Called with the progress before every step, to change what a schedule changes.
        on_epoch: Called after every epoch; its numbers are tracked.
        objective: From what the model says (at least float32) and what it should say to a loss; None takes
            cross-entropy, with the label smoothing of `config`.

    Returns:
        What it took.

    Raises:
        FloatingPointError: If the loss is not finite; says at which step and learning rate.
    """
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    has_convolutions = any(isinstance(module, nn.Conv2d) for module in model.modules())
    model.to(device)
    if has_convolutions:
        model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, config)
    objective = objective or partial(F.cross_entropy, label_smoothing=config.label_smoothing)
    total = max(1, round(config.epochs * steps_per_epoch))
    started, step, seen, loss_sum, loss_now = (
        time.monotonic(),
        0,
        0,
        torch.zeros((), device=device),
        float("nan"),
    )
    with _threads(config.threads), progress("training", total) as advance:
        for epoch in range(-(-total // steps_per_epoch)):
            model.train()
            for images, labels in batches(epoch):
                now = progress_of(step, total, time.monotonic() - started, config.budget)
                if now >= 1:
                    break
                if on_progress:
                    on_progress(now)
                factor = rate_factor(now, schedule=config.schedule, warmup=config.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = group["full_lr"] * factor
                loss = _step(model, optimizer, images.to(device), labels.to(device), dtype, objective)
                step, seen = step + 1, seen + len(labels)
                loss_sum += loss
                advance(1)
                if step % 50 == 0 or step == total:
                    loss_now = _checked(
                        float(loss_sum) / ((step - 1) % 50 + 1), step, config.learning_rate * factor
                    )
                    loss_sum.zero_()
                    seconds = time.monotonic() - started
                    numbers = {
                        "progress": now,
                        "loss": loss_now,
                        "rate": factor,
                        "images_per_second": seen / seconds,
                    }
                    _log(trackers, step, {"epoch": step / steps_per_epoch, "seconds": seconds, **numbers})
            if on_epoch:
                _log(trackers, step, {"epoch": step / steps_per_epoch, **on_epoch(epoch)})
            if progress_of(step, total, time.monotonic() - started, config.budget) >= 1:
                break
    return Trained(step, seen, time.monotonic() - started, loss_now)


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    dtype: torch.dtype,
    objective: Objective,
) -> Tensor:
    with torch.autocast(images.device.type, dtype=dtype, enabled=dtype != torch.float32):
        said = model(images)
    loss = objective(said.float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _checked(loss: float, step: int, rate: float) -> float:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise FloatingPointError(
            f"The loss must stay finite, but is {loss} at step {step} with learning rate {rate:.3g}; "
            "lower the learning rate or lengthen the warm-up."
        )
    return loss


def _log(trackers: Sequence[Tracker], step: int, numbers: dict[str, float]) -> None:
    for tracker in trackers:
        tracker.log(step, numbers)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use `count` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
