"""Intervals of anything made of sums over samples: ratios, their differences, how far one head is above another.

The percentile bootstrap of `efron1979bootstrap`: draw the samples anew, work the number out again, see how it varies.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from archaeology.core.intervals import Interval, resampled_means


@dataclass(frozen=True, eq=False)
class Intervals:
    """Numbers in an array of any shape, each with its interval; all three NaN where a number is not defined.

    Attributes:
        value: The numbers.
        low: Lower ends.
        high: Upper ends.
        n: How many samples they come from.
        level: Coverage of the intervals.
    """

    value: Float[np.ndarray, "*shape"]
    low: Float[np.ndarray, "*shape"]
    high: Float[np.ndarray, "*shape"]
    n: int
    level: float = 0.95

    def at(self, *place: int) -> Interval:
        """The number at one place."""
        value, low, high = (float(array[place]) for array in (self.value, self.low, self.high))
        return Interval(value, low, high, self.n, "bootstrap", self.level)


def bootstrap_of(
    samples: Float[np.ndarray, "n ..."],
    formula: Callable[[Float[np.ndarray, "resample ..."]], Float[np.ndarray, "resample ..."]],
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Intervals:
    """Intervals of `formula(means over samples)`, all from the same draws, so that what is common cancels.

    Args:
        samples: One row per sample, of any shape; finite.
        formula: What is wanted, given means with the resamples in front; NaN or infinite where it is not defined.
            Ratios of means are ratios of sums.
        seed: Seed of the resampling.
        resamples: How many times the samples are drawn anew.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: If there is no sample, a value is not finite or the level is impossible.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, but got {level=}.")
    rows = np.asarray(samples, dtype=np.float64)
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    draws = resampled_means(flat, seed=seed, resamples=resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = formula(rows.mean(axis=0)[None])[0]
        drawn = formula(draws.reshape(resamples, *rows.shape[1:]))
    known = np.isfinite(value)
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    if known.any():
        found = np.where(np.isfinite(drawn), drawn, np.nan)[
            :, known
        ]  # a draw may miss the few samples that count
        found = np.where(np.isnan(found).all(axis=0), value[known], found)
        low[known], high[known] = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Intervals(np.where(known, value, np.nan), low, high, len(rows), level)


def bootstrap_ratios(
    part: Float[np.ndarray, "n ..."],
    whole: Float[np.ndarray, "n ..."],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Intervals of many ratios of sums, sum(part) / sum(whole) over the samples, paired.

    Args:
        part: What each sample adds above the line.
        whole: What each sample adds below it; zero where it has no say.
        seed: Seed of the resampling.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: If the two differ in shape, or as `bootstrap_of`.
    """
    if part.shape != whole.shape:
        raise ValueError(
            f"part and whole must have the same shape, but got {part.shape} and {whole.shape}; broadcast them first."
        )
    both = np.stack([part, whole], axis=1)
    return bootstrap_of(both, lambda means: means[:, 0] / means[:, 1], seed=seed, level=level)
