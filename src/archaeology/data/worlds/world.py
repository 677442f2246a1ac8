"""A world makes its own samples, without end, and knows why each right answer is right.

Sample i depends on the seed, the options and i, on nothing else: not on the batch it comes in, not on the device. The
numbers that describe samples are drawn on the CPU, `BLOCK` at a time; what they look like is computed from them on any
device by exactly rounded operations.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import count as counting
from typing import Generic, TypeVar

import torch

from archaeology.data.worlds.rows import Rows

BLOCK = 256  # samples whose numbers are drawn together: a part of the definition of the samples
BITE = 32  # samples drawn at once on a CPU: few enough for its cache

Layout = TypeVar("Layout", bound=Rows)
Batch = TypeVar("Batch", bound=Rows)


class World(ABC, Generic[Layout, Batch]):
    """An endless stream of samples, or the first `num_samples` of it.

    Attributes:
        name: As in `archaeology list worlds`.
        seed: Another seed, other samples. Evaluation uses seed 0, training others.
        num_samples: How many samples there are; None where there is no end.
        fingerprint: Hex sha256 of all that decides what the samples are.
    """

    name: str
    seed: int
    num_samples: int | None
    fingerprint: str
    bite = BITE

    @abstractmethod
    def layout(self, block: int) -> Layout:
        """The numbers that describe samples `BLOCK * block` to `BLOCK * (block + 1) - 1`, on the CPU."""

    @abstractmethod
    def drawn(self, layout: Layout) -> Batch:
        """What these numbers look like, on the device where they are."""

    def generate(self, start: int, count: int, device: torch.device | str = "cpu") -> Batch:
        """Draw samples `start` to `start + count - 1`, also beyond `num_samples`: a world has no end.

        Args:
            start: Number of the first sample.
            count: How many.
            device: Where to draw; the numbers are the same everywhere.

        Raises:
            ValueError: If `start` is negative or `count` is not positive.
        """
        layouts = self.layouts(start, count).to(device)
        bite = self.bite if torch.device(device).type == "cpu" else BLOCK
        parts = [self.drawn(layouts.part(i, i + bite)) for i in range(0, count, bite)]
        return parts[0] if len(parts) == 1 else type(parts[0]).joined(parts)

    def layouts(self, start: int, count: int) -> Layout:
        """The numbers of samples `start` to `start + count - 1`, for whoever wants to change some before `drawn`.

        Raises:
            ValueError: If `start` is negative or `count` is not positive.
        """
        if start < 0 or count < 1:
            raise ValueError(f"generate needs start >= 0 and count >= 1, but got {start=}, {count=}.")
        blocks = range(start // BLOCK, (start + count - 1) // BLOCK + 1)
        drawn = [self.layout(block) for block in blocks]
        first = start - blocks[0] * BLOCK
        return type(drawn[0]).joined(drawn).part(first, first + count)

    def batches(
        self, batch_size: int, *, start: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """`batch_size` samples at a time: without end, or up to `num_samples`, when the last batch may be smaller.

        Raises:
            ValueError: If `batch_size` is not positive or `start` is negative.
        """
        if batch_size < 1 or start < 0:
            raise ValueError(f"batches need batch_size >= 1 and start >= 0, but got {batch_size=}, {start=}.")
        stop = self.num_samples
        for first in counting(start, batch_size) if stop is None else range(start, stop, batch_size):
            size = batch_size if stop is None else min(batch_size, stop - first)
            yield self.generate(first, size, device)


def check_numbers(seed: int, num_samples: int | None) -> None:
    """Raise unless seed and number of samples make sense.

    Raises:
        ValueError: If they do not.
    """
    if seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, but got {seed=}.")
    if num_samples is not None and num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, or None for no end, but got {num_samples=}.")
