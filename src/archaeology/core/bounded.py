"""Intervals of means of values that lie between known bounds: honest with few samples, and never without a width.

The percentile bootstrap of samples that are all alike has no width, and misses what is rare: eight images that all
break at one size do not show that every image does. Here each sample gets a random weight (uniform over all weights
that sum to one, `rubin1981bootstrap`), and one more sample that nobody has seen gets one too: it has the worst value
there can be, the lower bound for the lower end, the upper bound for the upper end (`gaffke2005three`; that this covers
at least as often as it should for any distribution is a conjecture that has withstood every test so far,
`learned2020new`). For shares of successes it is the interval of Clopper and Pearson.
"""

import numpy as np
from jaxtyping import Float

from archaeology.core.intervals import MAX_WEIGHTS, Interval
from archaeology.core.seeding import numpy_generator


def bounded_means(
    low: Float[np.ndarray, "n column"],
    high: Float[np.ndarray, "n column"],
    bounds: tuple[float, float],
    *,
    seed: int = 0,
    resamples: int = 4000,
    level: float = 0.95,
) -> list[Interval]:
    """The mean of every column, of whose values only two ends may be known.

    Args:
        low: The least that each value can be; one row per sample.
        high: The most; the same as `low` where values are known exactly.
        bounds: What no value can lie below or above, seen or not.
        seed: Of the weights; all columns get the same.
        resamples: How often weights are drawn.
        level: Coverage, between 0 and 1.

    Returns:
        One interval per column, from the lower end of the mean of `low` to the upper end of the mean of `high`, around
        the mean of their middles.

    Raises:
        ValueError: If there is no sample, ends do not fit each other or the bounds, or the level is impossible.
    """
    rows = [np.asarray(ends, dtype=np.float64) for ends in (low, high)]
    fits = rows[0].shape == rows[1].shape and len(rows[0]) > 0 and bounds[0] < bounds[1]
    if not (fits and ((bounds[0] <= rows[0]) & (rows[0] <= rows[1]) & (rows[1] <= bounds[1])).all()):
        raise ValueError(
            f"bounded_means needs a sample at least, with {bounds[0]:g} <= low <= high <= {bounds[1]:g}, but got "
            f"shapes {rows[0].shape} and {rows[1].shape}, or values beyond; clip what rounding carried beyond."
        )
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, but got {level=}.")
    n, columns = rows[0].shape
    worst = [np.vstack([ends, np.full(columns, bound)]) for ends, bound in zip(rows, bounds, strict=True)]
    generator = numpy_generator(seed, "bounded means", n)
    at_once = max(1, MAX_WEIGHTS // (n + 1))
    drawn: list[list[np.ndarray]] = [[], []]
    for start in range(0, resamples, at_once):
        weights = generator.standard_exponential((min(at_once, resamples - start), n + 1))
        weights /= weights.sum(axis=1, keepdims=True)
        for side in (0, 1):
            drawn[side].append(weights @ worst[side])
    ends = (
        np.quantile(np.concatenate(drawn[0]), (1 - level) / 2, axis=0),
        np.quantile(np.concatenate(drawn[1]), (1 + level) / 2, axis=0),
    )
    means = (rows[0] + rows[1]).mean(axis=0) / 2
    return [
        Interval(float(mean), float(lowest), float(highest), n, "bounded mean", level)
        for mean, lowest, highest in zip(means, *ends, strict=True)
    ]
