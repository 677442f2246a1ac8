"""What a training tells while it goes: mean loss, largest gradient norm, images per second, time to go."""

import math

import torch
from torch import Tensor

from archaeology.training.runtime import Runtime


class Meter:
    """Collects the numbers of steps on the device, and reads them only when a line is written.

    Attributes:
        loss: Mean over the steps of the last line; NaN before the first.
        note: The last line in a few words, for a progress bar.
    """

    def __init__(self, runtime: Runtime, total_steps: int) -> None:
        self._runtime, self._total = runtime, total_steps
        self.loss, self.note = math.nan, ""
        self._last = (0, 0.0)
        self._clear()

    def _clear(self) -> None:
        self._steps = 0
        self._sum = torch.zeros((), device=self._runtime.device)
        self._norm = torch.zeros((), device=self._runtime.device)

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Take in one step's loss and gradient norm."""
        self._steps += 1
        self._sum += loss
        self._norm = torch.maximum(self._norm, norm)

    def largest(self) -> float:
        """The largest gradient norm since the last line."""
        return float(self._norm)

    def read(self, step: int, images: int, seconds: float, progress: float) -> dict[str, float]:
        """The numbers since the last line, as `metrics.jsonl` has them.

        Args:
            step: Steps so far.
            images: Images so far, of all processes.
            seconds: Wall time so far.
            progress: In (0, 1].
        """
        self.loss = float(self._runtime.mean(self._sum)) / max(self._steps, 1)
        before, then = self._last
        rate = (images - before) / max(seconds - then, 1e-9)
        left = seconds * (1 - progress) / max(progress, 1e-9)
        numbers = {
            "seconds": seconds,
            "progress": progress,
            "loss": self.loss,
            "gradient_norm": self.largest(),
            "images_per_second": rate,
            "seconds_left": left,
        }
        self.note = f"loss {self.loss:.3f}, {rate:,.0f} images/s"
        self._last = (images, seconds)
        self._clear()
        return numbers
