"""One training as it goes: what learns, how far it is, what it tells, where it is kept."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archaeology.core.device import choose_dtype
from archaeology.core.errors import NonFiniteLossError, OutOfMemoryError
from archaeology.core.halving import is_out_of_memory
from archaeology.core.progress import Advance, progress
from archaeology.core.seeding import derived_seed
from archaeology.training.adversarial import Adversary
from archaeology.training.config import TrainConfig
from archaeology.training.ema import Average
from archaeology.training.layers import block_of
from archaeology.training.memory import available_bytes, checkpoint_blocks, step_memory
from archaeology.training.meter import Meter
from archaeology.training.optimizers import make_optimizer
from archaeology.training.runtime import Runtime, wrap
from archaeology.training.schedule import progress_of, rate_factor
from archaeology.training.state import Learner, Position, find_position, load_state, save_state
from archaeology.training.step import Objective, Stepper, count_of, on_device
from archaeology.training.trackers import Tracker

Batches = Callable[[int], Iterable[tuple[Any, Any]]]
FREE = {"threads", "save_every", "log_every", "device"}  # what may differ when a training goes on


@dataclass(frozen=True)
class Trained:
    """What a training took: `steps` optimizer steps on `images` images in `seconds` of wall time."""

    steps: int
    images: int
    seconds: float
    final_loss: float


class Session:
    """One training; see `train` for what its parts mean."""

    def __init__(
        self,
        model: nn.Module,
        steps_per_epoch: int,
        config: TrainConfig,
        runtime: Runtime,
        objective: Objective,
        trackers: Sequence[Tracker],
        folder: Path | None,
        identity: Mapping[str, Any],
        adversary: Adversary | None = None,
    ) -> None:
        self.model, self.config, self.runtime, self.trackers = model, config, runtime, trackers
        self.steps_per_epoch = steps_per_epoch
        self.identity = {**config.model_dump(mode="json", exclude=FREE), **identity}
        self.total = max(1, round(config.epochs * steps_per_epoch))
        self.dtype = choose_dtype(config.dtype, runtime.device)
        self.states = None if folder is None else folder / "state"
        self.batch: tuple[Any, Any] = (torch.empty(0), torch.empty(0))
        model.to(runtime.device)
        if any(isinstance(module, nn.Conv2d) for module in model.modules()):
            model.to(memory_format=torch.channels_last)
        if config.checkpoint_blocks:
            names = (name for name, _ in model.named_parameters())
            checkpoint_blocks(model, [path for path in dict.fromkeys(map(block_of, names)) if path])
        if config.compile:
            model.compile()
        wrapped = wrap(model, runtime, config.parallel)
        optimizer = make_optimizer(model, config)
        self.stepper = Stepper(model, wrapped, optimizer, objective, config, self.dtype, adversary)
        self.average = Average(model, config.ema) if config.ema else None
        self.learner = Learner(model, optimizer, self.average, self.stepper.scaler)
        self.meter = Meter(runtime, self.total)

    def train(
        self,
        batches: Batches,
        on_progress: Callable[[float], None] | None,
        on_epoch: Callable[[int], dict[str, float]] | None,
    ) -> Trained:
        """Go on from where it stands to the end."""
        self._go_on()
        with progress("training", self.total) as advance:
            advance(self.step)
            while not self._is_over():
                epoch, done = divmod(self.step, self.steps_per_epoch)
                self.model.train()
                came = False
                for images, targets in islice(batches(epoch), done, self.steps_per_epoch):
                    came = True
                    if self._is_over():
                        break
                    self._take_step(images, targets, on_progress)
                    self._tell(advance)
                if not came:
                    raise ValueError(
                        f"An epoch must have {self.steps_per_epoch} batches, but has only {done}."
                    )
                self._check()
                if on_epoch:
                    with self.average.in_place() if self.average else nullcontext():
                        self._log({"epoch": self.epoch, **on_epoch(epoch)})
                if not self._is_over():
                    self._save()
        if self.average is not None:
            self.average.take_over()
        return Trained(self.step, self.images, self._seconds(), self.meter.loss)

    def _go_on(self) -> None:
        """Begin, or go on where a state was saved."""
        position = find_position(self.states, self.identity) if self.states else Position()
        if self.states and position.step:
            load_state(self.states, self.learner, position, self.runtime)
        self.step, self.images = position.step, position.images
        self.started = time.monotonic() - position.seconds
        self.saved = time.monotonic()
        self.pending: tuple[Tensor, float] | None = None

    @property
    def epoch(self) -> float:
        """How many epochs are done, in parts of one."""
        return self.step / self.steps_per_epoch

    def _seconds(self) -> float:
        return time.monotonic() - self.started

    def _progress(self) -> float:
        return progress_of(self.step, self.total, self._seconds(), self.config.budget)

    def _is_over(self) -> bool:
        if self.config.budget is None:
            return self.step >= self.total
        # All processes must stop at the same step, whatever their clocks say.
        return float(self.runtime.mean(torch.tensor(self._progress(), device=self.runtime.device))) >= 1

    def _take_step(self, images: Any, targets: Any, on_progress: Callable[[float], None] | None) -> None:
        now = self._progress()
        if on_progress:
            on_progress(now)
        factor = rate_factor(now, schedule=self.config.schedule, warmup=self.config.warmup)
        for group in self.stepper.optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor
        torch.manual_seed(derived_seed(self.config.seed, "step", self.step, self.runtime.rank))
        device = self.runtime.device
        self._check()  # the step before, so that an accelerator never waits for the one it computes
        self.batch = (images, targets)
        try:
            loss, norm = self.stepper(on_device(images, device), on_device(targets, device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._too_large(images) from error
        self.step, self.images = self.step + 1, self.images + count_of(images) * self.runtime.world_size
        self.factor = factor
        self.pending = (loss, self.config.learning_rate * factor)
        self.meter.add(loss, norm)
        if self.average is not None:
            self.average.update()

    def _tell(self, advance: Advance) -> None:
        """Write a line of numbers when it is time, and the state."""
        advance(1, self.meter.note)
        if self.step % self.config.log_every == 0 or self.step == self.total:
            self._check()
            numbers = self.meter.read(self.step, self.images, self._seconds(), self._progress())
            rates = {"rate": self.factor, "learning_rate": self.config.learning_rate * self.factor}
            self._log({"epoch": self.epoch, **numbers, **rates})
        is_due = torch.tensor(float(time.monotonic() - self.saved >= self.config.save_every))
        if (
            self.states
            and self.config.save_every
            and float(self.runtime.mean(is_due.to(self.runtime.device))) > 0
        ):
            self._save()

    def _check(self) -> None:
        """Raise if the loss of the last step is not finite."""
        if self.pending is None:
            return
        (loss, rate), self.pending = self.pending, None
        if not torch.isfinite(loss):
            norm = self.meter.largest()
            raise NonFiniteLossError(
                f"The loss must stay finite, but is {float(loss)} at step {self.step} with learning rate {rate:.3g} "
                f"(largest gradient norm of late: {norm:.3g}); lower the learning rate, lengthen the warm-up or "
                "clip the gradients (--clip 1).",
                {
                    **self._facts("non_finite"),
                    "loss": float(loss),
                    "learning_rate": rate,
                    "gradient_norm": norm,
                },
            )

    def _facts(self, kind: str) -> dict[str, Any]:
        return {"kind": kind, "step": self.step, "epoch": self.epoch, "batch_size": self.config.batch_size}

    def _too_large(self, images: Any) -> OutOfMemoryError:
        """What to raise where a step did not fit: with the batch that would."""
        self.stepper.optimizer.zero_grad(set_to_none=True)
        if self.runtime.device.type == "cuda":
            torch.cuda.empty_cache()
        device, most = self.runtime.device, self.config.batch_size
        facts = self._facts("out_of_memory")
        words = "halve --batch-size until it fits"
        try:
            if not isinstance(images, Tensor):
                raise MemoryError("what several tensors need is not estimated")
            two = images[:1].expand(2, *images.shape[1:]).to(device)
            needed = step_memory(self.model, two, self.dtype, self.config.optimizer)
            available = available_bytes(device)
            fits = needed.batch_size_that_fits(available)
            facts |= {
                "available_bytes": available,
                "bytes_per_image": needed.bytes_per_image,
                "fixed_bytes": needed.fixed_bytes,
                "batch_size_that_fits": min(fits, most),
            }
            if 0 < fits < most:
                words = (
                    f"--batch-size {fits} fits, or --accumulate {-(-most // fits)} with the batch as it is"
                )
        except (RuntimeError, MemoryError):
            pass  # not even two images fit, or nobody knows
        return OutOfMemoryError(
            f"A step must fit into memory, but one of {count_of(images)} images did not; {words}, or "
            "--checkpoint-blocks.",
            facts,
        )

    def _save(self) -> None:
        if self.states is None:
            return
        scale = float(self.stepper.scaler.get_scale()) if self.stepper.scaler.is_enabled() else 0.0
        moves = self.average.steps if self.average else 0
        position = Position(self.step, self.images, self._seconds(), moves, scale)
        save_state(self.states, self.learner, position, self.identity, self.runtime)
        self.saved = time.monotonic()

    def _log(self, numbers: Mapping[str, float]) -> None:
        if self.runtime.is_main:
            for tracker in self.trackers:
                tracker.log(self.step, numbers)
