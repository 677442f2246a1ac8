"""What goes with failing: is a model right more often at one end of an attribute, among images of the same label?

Each image is compared with those of its own label only, so that a hard class does not pass for a cause: ranks within
classes against being right, with the exact mean and variance of all ways to deal the right answers (`mantel1963chi`).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval, newcombe, wilson
from archaeology.failures.attributes import Values

FIFTHS = 5
EXAMPLES = 6  # failures that are shown

Labels = Int[np.ndarray, " _"]
Right = Bool[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class Gathering:
    """Whether a model is right more often at one end of an attribute, among images of the same label.

    Attributes:
        model: Its name.
        attribute: Name.
        shares: Share right in each fifth of the images, by the attribute, the lowest values first; fifths are made
            within each class, so that all have the same classes.
        difference: Share right in the highest fifth less that in the lowest, with interval.
        p_value: That being right has nothing to do with it, within classes.
        p_corrected: Among all questions (Holm).
        examples: Failures at the end where there are more of them.
    """

    model: str
    attribute: str
    shares: tuple[Interval, ...]
    difference: Interval
    p_value: float
    examples: tuple[int, ...]
    p_corrected: float = 1.0


def gathering(model: str, attribute: str, values: Values, labels: Labels, right: Right) -> Gathering:
    """One attribute and whether one model is right, within classes."""
    known = np.isfinite(values)
    fifth = np.full(len(values), -1)
    fifth[known] = fifths_within(values[known], labels[known])
    shares = tuple(share_right(right[fifth == part]) for part in range(FIFTHS))
    low, high = (right[fifth == part] for part in (0, FIFTHS - 1))
    if len(high) and len(low):
        difference = newcombe(int(high.sum()), len(high), int(low.sum()), len(low))
    else:
        difference = Interval(np.nan, np.nan, np.nan, len(high) + len(low), "newcombe")
    worse = FIFTHS - 1 if difference.value < 0 else 0
    rows = np.flatnonzero((fifth == worse) & ~right)
    order = rows[np.argsort(values[rows] * (-1 if worse else 1), kind="stable")]
    p_value = within_classes(values[known], labels[known], right[known])
    return Gathering(model, attribute, shares, difference, p_value, tuple(order[:EXAMPLES].tolist()))


def fifths_within(values: Values, labels: Labels) -> Int[np.ndarray, " image"]:
    """In which fifth of its class each image lies, 0 for the lowest values."""
    return np.minimum((ranks_within(values, labels) * FIFTHS).astype(np.int64), FIFTHS - 1)


def ranks_within(values: Values, labels: Labels) -> Float[np.ndarray, " image"]:
    """Rank within the class, over its size: between 0 and 1, ties in the middle."""
    found = np.zeros(len(values))
    for one in np.unique(labels):
        rows = labels == one
        found[rows] = (np.asarray(stats.rankdata(values[rows])) - 0.5) / rows.sum()  # pyright: ignore
    return found


def within_classes(values: Values, labels: Labels, right: Right) -> float:
    """P-value that being right has nothing to do with the rank of a value among images of the same label.

    Sum over classes of rank times right, against all ways to deal "right" within each class: its mean and variance
    under that are known exactly (`mantel1963chi`), its shape is taken as normal. 1 where nothing varies.
    """
    ranks = ranks_within(values, labels)
    away, variance = 0.0, 0.0
    for one in np.unique(labels):
        rows = labels == one
        n = int(rows.sum())
        if n < 2:
            continue
        rank, hit = ranks[rows] - ranks[rows].mean(), right[rows] - right[rows].mean()
        away += float(rank @ hit)
        variance += float((rank**2).sum() * (hit**2).sum() / (n - 1))
    return 1.0 if variance <= 1e-12 else min(1.0, 2 * NormalDist().cdf(-abs(away) / np.sqrt(variance)))


def within_labels(right: Right, inside: Right, labels: Labels) -> float:
    """P-value that images inside are named right no less often than others of the same class.

    Fisher's exact test, class by class, of the sum over classes: a class that is hard everywhere makes no slice.
    """
    chance, least = np.ones(1), 0  # of every number of right images inside, from the least possible on
    for one in np.unique(labels[inside]):
        rows = labels == one
        n, hits, drawn = int(rows.sum()), int(right[rows].sum()), int(inside[rows].sum())
        low = max(0, drawn - (n - hits))
        counts = np.arange(low, min(drawn, hits) + 1)
        chance = np.convolve(chance, stats.hypergeom.pmf(counts, n, hits, drawn))  # pyright: ignore
        least += low
    seen = int((right & inside).sum()) - least
    return float(min(1.0, chance[: seen + 1].sum()))


def share_right(right: Right) -> Interval:
    """Share of them that are right; NaN where there are none."""
    if len(right) == 0:
        return Interval(np.nan, np.nan, np.nan, 0, "wilson")
    return wilson(int(right.sum()), len(right))
