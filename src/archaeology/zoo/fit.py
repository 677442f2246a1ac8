"""How cost grows with length, and from which length on one mechanism beats another.

A cost of `c N^p` is a straight line of slope `p` in a picture with two logarithmic scales, so `p` is the slope of a
least-squares line. Its interval is Student's, from how far the lengths lie off that line: real costs are not exact
powers, and that is most of what is not known about `p`; noise between rounds is small beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from archaeology.core.intervals import Interval

FIT_FROM = 1024  # tokens; below, starting an operation takes as long as doing it
LEAST_LENGTHS = 3
CLEARLY_FASTER = 1.05  # times as fast; a smaller lead is a tie


@dataclass(frozen=True)
class Crossover:
    """From where on one mechanism is clearly faster than another.

    Attributes:
        length: Tokens from which it is faster, between the lengths measured; the shortest measured if it is faster
            at all of them, None if at none or not at the longest.
        is_always: Whether it is faster at every length measured.
        shortest: The shortest length at which both were measured.
        longest: The longest one.
        lead: How many times as fast it is at `longest`.
    """

    length: float | None
    is_always: bool
    shortest: int
    longest: int
    lead: float


def lengths_to_fit(lengths: Sequence[int]) -> list[int]:
    """Those from `FIT_FROM` on if there are enough of them, else all."""
    long = [length for length in lengths if length >= FIT_FROM]
    return long if len(long) >= LEAST_LENGTHS else list(lengths)


def exponent(lengths: Sequence[int], costs: Sequence[float], level: float = 0.95) -> Interval:
    """The power of length with which cost grows; n is the number of lengths.

    The interval is unbounded for fewer than three lengths, which always lie on a line.

    Raises:
        ValueError: If there are fewer than two lengths, or a cost is not positive.
    """
    if len(lengths) < 2 or len(lengths) != len(costs):
        raise ValueError(
            f"exponent needs two lengths or more and a cost for each, but got {lengths}, {costs}."
        )
    if min(costs) <= 0:
        raise ValueError(f"costs must be positive to grow as a power of length, but got {list(costs)}.")
    across, up = np.log(np.asarray(lengths, dtype=float)), np.log(np.asarray(costs, dtype=float))
    centred = across - across.mean()
    slope = float(centred @ up / (centred @ centred))
    freedom = len(lengths) - 2
    half = math.inf
    if freedom:
        rest = up - up.mean() - slope * centred
        deviation = math.sqrt(float(rest @ rest) / freedom / float(centred @ centred))
        half = float(stats.t.ppf(0.5 + level / 2, freedom)) * deviation
    return Interval(slope, slope - half, slope + half, len(lengths), "Student's t of the slope", level)


def crossover(dense: dict[int, float], other: dict[int, float]) -> Crossover | None:
    """From where on `other` is clearly faster than `dense`; None if they were never measured at one length.

    Between two lengths the lead is taken to grow as a power of length.
    """
    lengths = sorted(dense.keys() & other.keys())
    if not lengths:
        return None
    leads = [dense[length] / other[length] for length in lengths]
    ends = {"shortest": lengths[0], "longest": lengths[-1], "lead": leads[-1]}
    first = next((i for i in range(len(leads)) if min(leads[i:]) >= CLEARLY_FASTER), None)
    if first is None:
        return Crossover(None, False, **ends)
    if first == 0:
        return Crossover(float(lengths[0]), True, **ends)
    before, after = math.log(leads[first - 1]), math.log(leads[first])
    share = (math.log(CLEARLY_FASTER) - before) / (after - before)
    length = lengths[first - 1] * (lengths[first] / lengths[first - 1]) ** share
    return Crossover(length, False, **ends)
