"""Asking many questions at once: a p-value for each, and what is left of them after correction.

Of 144 heads that do nothing, seven look as if they did something at the 5 % level. Holm's correction keeps the
chance of even one false alarm below the level; Benjamini's and Hochberg's keeps the share of false alarms among all
alarms below it, and finds more. That nothing was found does not show that nothing is there: for that the interval
must be narrow (`paired_share`).

Sources: `fisher1935design` (sign flips), `phipson2010permutation` (no p-value is 0), `holm1979simple`,
`benjamini1995controlling`, `agresti2005simple` (paired shares).
"""

from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import numpy_generator

CORRECTIONS = ("holm", "benjamini-hochberg")
MAX_SIGNS = 4_000_000  # in memory at once
FEWEST_FLIPS = 9_999
FLIPS_PER_QUESTION = 40  # so that the smallest p-value survives correction at the 5 % level


def sign_flip_test(
    samples: Float[np.ndarray, "n column"], *, seed: int = 0, flips: int | None = None
) -> Float[np.ndarray, " column"]:
    """Two-sided p-value of every column that its values lie around zero: would random signs do as much?

    Args:
        samples: Paired differences, one row for each image; finite. The same signs are drawn for all columns.
        seed: Of the signs.
        flips: How often signs are drawn; the smallest p-value there can be is 1 / (flips + 1). If None, 9,999 or 40 for
            each column, whichever is more.

    Raises:
        ValueError: If there is no row, or a value is not finite.
    """
    rows = np.asarray(samples, dtype=np.float64)
    n, columns = rows.shape
    if n == 0 or not np.isfinite(rows).all():
        raise ValueError(
            "the sign-flip test needs at least one row and finite values; drop or mend rows with NaN or infinity."
        )
    flips = max(FEWEST_FLIPS, FLIPS_PER_QUESTION * columns) if flips is None else flips
    seen = np.abs(rows.sum(axis=0)) * (1 - 1e-9)  # rounding must not break ties
    generator = numpy_generator(seed, "sign flips", n)
    as_large = np.zeros(columns)
    at_once = max(1, MAX_SIGNS // n)
    for start in range(0, flips, at_once):
        size = (min(at_once, flips - start), n)
        signs = generator.integers(0, 2, size=size, dtype=np.int8) * 2.0 - 1
        as_large += (np.abs(signs @ rows) >= seen).sum(axis=0)
    return (1 + as_large) / (1 + flips)


def corrected(
    p_values: Float[np.ndarray, " question"], method: str = "holm"
) -> Float[np.ndarray, " question"]:
    """P-values made larger so that they can be compared with a level although there are many.

    Args:
        p_values: One for each question, in 0..1.
        method: "holm" (no false alarm at all) or "benjamini-hochberg" (few among the alarms).

    Raises:
        UnknownNameError: If there is no such method.
        ValueError: If a p-value is none.
    """
    if method not in CORRECTIONS:
        raise unknown_name("correction", method, list(CORRECTIONS))
    given = np.asarray(p_values, dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():  # also for NaN
        raise ValueError(f"p_values must lie in [0, 1], but got {given.tolist()}.")
    if method == "benjamini-hochberg":
        found = stats.false_discovery_control(given) if len(given) else given  # pyright: ignore
        return np.asarray(found, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    stricter = given[order] * np.arange(len(given), 0, -1)  # the smallest times all, the next times one less
    made = np.empty_like(given)
    made[order] = np.minimum(np.maximum.accumulate(stricter), 1)
    return made


def paired_share(
    first: Shaped[np.ndarray, " first"], second: Shaped[np.ndarray, " second"], *, level: float = 0.95
) -> Interval:
    """Interval of the difference of two shares measured on the same images, first minus second.

    Half an image is added to each of the four outcomes, so that the interval has a width even where both always agree:
    with few images, never having seen a difference does not show that there is none.

    Args:
        first: Whether the first was right, per image.
        second: Whether the second was, same images in the same order.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: If the lengths differ, there is no image or the level is impossible.
    """
    if len(first) != len(second) or len(first) == 0 or not 0 < level < 1:
        raise ValueError(
            f"paired_share needs the same images for both, at least one, and a level between 0 and 1, but got "
            f"{len(first)} and {len(second)} images and {level=}."
        )
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    n = len(one) + 2
    only_first, only_second = (one & ~other).sum() + 0.5, (~one & other).sum() + 0.5
    centre = (only_first - only_second) / n
    error = np.sqrt((only_first + only_second) / n - centre**2) / np.sqrt(n)
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    difference = float(one.mean() - other.mean())
    low, high = max(-1.0, float(centre - half)), min(1.0, float(centre + half))
    return Interval(difference, low, high, len(one), "agresti-min", level)
