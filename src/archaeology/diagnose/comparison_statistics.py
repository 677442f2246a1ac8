"""Differences between recipes over seeds: paired where both were trained with the same, with Student's interval.

Source of the interval: `student1908probable`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval

LEAST_SEEDS = 3  # fewer say too little about how seeds differ
STUDENT, TOO_FEW, NO_SPREAD = "student", "too few seeds", "no spread"


def student(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean with Student's interval.

    Args:
        values: One for each seed; at least one.
        level: Coverage, between 0 and 1.

    Returns:
        The mean; both ends NaN with fewer than three values, and where all are the same, since then their spread is
        not known but hidden by how coarsely they were measured. `method` says which.
    """
    count = len(values)
    mean = float(np.mean(values))
    if count < LEAST_SEEDS:
        return Interval(mean, math.nan, math.nan, count, TOO_FEW, level)
    spread = float(np.std(values, ddof=1))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return Interval(mean, math.nan, math.nan, count, NO_SPREAD, level)
    quantile = float(stats.t.ppf(0.5 + level / 2, count - 1))  # pyright: ignore[reportUnknownMemberType]
    half = quantile * spread / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count, STUDENT, level)


@dataclass(frozen=True)
class Difference:
    """How far the first recipe lies above the second, over the seeds that both were trained with.

    Attributes:
        first: Name of a group.
        second: Of another.
        seeds: That both have; pairs are made of them.
        interval: Of the mean difference.
    """

    first: str
    second: str
    seeds: tuple[int, ...]
    interval: Interval

    @property
    def is_above(self) -> bool:
        """Whether the whole interval lies above zero; without an interval nothing is known."""
        return self.interval.low > 0

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return self.interval.excludes(0.0)


def paired_difference(
    first: str, second: str, ours: Mapping[int, float], theirs: Mapping[int, float]
) -> Difference | None:
    """The difference of the numbers of two groups, by seed; None where no seed is in both."""
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        return None
    return Difference(first, second, seeds, student([ours[seed] - theirs[seed] for seed in seeds]))
