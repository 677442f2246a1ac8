"""How sure a number is: intervals for a share, a mean and a paired difference, and the test for two models.

Sources: `wilson1927probable` for shares, `efron1979bootstrap` for the percentile bootstrap,
`newcombe1998interval` for two shares of different images, `mcnemar1947note` in its exact binomial form.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.seeding import numpy_generator

MAX_WEIGHTS = 4_000_000  # of the bootstrap in memory at once


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval (unless `level` says otherwise) and how it was made."""

    value: float
    low: float
    high: float
    n: int
    method: str
    level: float = 0.95

    def excludes(self, number: float) -> bool:
        """Whether `number` lies outside the interval."""
        return number < self.low or number > self.high


@dataclass(frozen=True)
class McNemar:
    """Do two models differ? Only images that exactly one of them gets right can tell."""

    only_first: int
    only_second: int
    n: int
    p_value: float


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share: honest near 0 and 1, where the textbook interval is not.

    Args:
        successes: How many succeeded, 0 to `n`.
        n: How many were tried, at least 1.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: If the counts or the level are impossible.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"wilson needs 0 <= successes <= n and n >= 1, but got {successes=}, {n=}.")
    _check_level(level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == n else float(centre + half)
    return Interval(share, low, high, n, "wilson", level)


def newcombe(hits: int, n: int, other_hits: int, other_n: int, level: float = 0.95) -> Interval:
    """The difference of two shares of different images, first less second (from Wilson's ends, his method 10).

    Raises:
        ValueError: If a count or the level is impossible.
    """
    one, other = wilson(hits, n, level), wilson(other_hits, other_n, level)
    value = one.value - other.value
    low = value - float(np.hypot(one.value - one.low, other.high - other.value))
    high = value + float(np.hypot(one.high - one.value, other.value - other.low))
    return Interval(value, low, high, n + other_n, "newcombe", level)


def resampled_means(
    samples: Float[np.ndarray, "n column"], *, seed: int = 0, resamples: int = 2000
) -> Float[np.ndarray, "resample column"]:
    """Means of every column over `resamples` draws of the rows with replacement, the same rows for all columns.

    Raises:
        ValueError: If there is no row or a value is not finite.
    """
    n = len(samples)
    if n == 0:
        raise ValueError("the bootstrap needs at least one row, but got none.")
    if not np.isfinite(samples).all():
        raise ValueError(
            "the bootstrap needs finite values, but got NaN or infinity; drop or mend those rows."
        )
    generator = numpy_generator(seed, "bootstrap", n)
    # A bootstrap sample is n draws with replacement, that is multinomial weights: means are a matrix product,
    # with only some of the weights at a time, so that 50,000 images do not need a gigabyte.
    at_once = max(1, MAX_WEIGHTS // n)
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    rows = samples.astype(np.float64)
    return np.concatenate(
        [generator.multinomial(n, np.full(n, 1 / n), size=size) @ rows / n for size in sizes]
    )


def bootstrap_means(
    samples: Float[np.ndarray, "n column"], *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> list[Interval]:
    """Percentile bootstrap of the mean of every column, resampling rows (so columns stay paired).

    Args:
        samples: One row per image, one column per quantity; finite.
        seed: Seed of the resampling.
        resamples: How many bootstrap samples; more costs time and smooths the ends.
        level: Coverage, between 0 and 1.

    Returns:
        One interval per column.

    Raises:
        ValueError: If there is no row, a value is not finite or the level is impossible.
    """
    _check_level(level)
    draws = resampled_means(samples, seed=seed, resamples=resamples)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    means = samples.astype(np.float64).mean(axis=0)
    return [
        Interval(float(mean), float(lo), float(hi), len(samples), "bootstrap", level)
        for mean, lo, hi in zip(means, low, high, strict=True)
    ]


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, but got {level=}.")


def bootstrap_mean(samples: Float[np.ndarray, " n"], *, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of one mean; see `bootstrap_means`."""
    return bootstrap_means(np.asarray(samples, dtype=np.float64)[:, None], seed=seed, level=level)[0]


def bootstrap_ratio(
    part: Float[np.ndarray, " part"],
    whole: Float[np.ndarray, " whole"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a ratio of sums, sum(part) / sum(whole), resampling both together.

    Args:
        part: What each sample adds above the line.
        whole: What each sample adds below it; zero where it has no say.
        seed: Seed of the resampling.
        level: Coverage, between 0 and 1.

    Returns:
        The interval; all NaN where `whole` sums to zero, so that there is nothing to take a share of.

    Raises:
        ValueError: As `bootstrap_means`, or if the lengths differ.
    """
    if len(part) != len(whole):
        raise ValueError(
            f"bootstrap_ratio needs part and whole of the same samples, but got {len(part)} and {len(whole)}."
        )
    above, below = resampled_means(np.stack([part, whole], axis=1), seed=seed).T
    if not np.abs(whole).sum() > 0:
        return Interval(np.nan, np.nan, np.nan, len(part), "bootstrap", level)
    _check_level(level)
    known = below != 0  # a resample may miss the few samples that count
    low, high = np.quantile(above[known] / below[known], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(part.sum() / whole.sum()), float(low), float(high), len(part), "bootstrap", level)


def paired_bootstrap(
    first: Shaped[np.ndarray, " first"],
    second: Shaped[np.ndarray, " second"],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of the mean of `first - second` over the same images: what is common to both cancels.

    Raises:
        ValueError: If the two do not measure the same images (lengths differ).
    """
    if len(first) != len(second):
        raise ValueError(
            "paired_bootstrap needs both measured on the same images, "
            f"but got {len(first)} and {len(second)} of them."
        )
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return bootstrap_mean(difference, seed=seed, level=level)


def mean_over_draws(
    draws: Float[np.ndarray, " draw"], by_image: Float[np.ndarray, " n"], level: float = 0.95
) -> tuple[Interval, float]:
    """Mean of what was drawn a few times and asked of many images, where other draws and other images would move it.

    Both parts of the variance add up; degrees of freedom: `satterthwaite1946approximate`.

    Args:
        draws: Mean over images of each draw, at least two.
        by_image: Mean over draws of each image, at least two.
        level: Coverage.

    Returns:
        Student's interval, and the two-sided p-value that the mean is 0 (1 where nothing varied).

    Raises:
        ValueError: If there are fewer than two draws or images, or the level is impossible.
    """
    _check_level(level)
    if min(len(draws), len(by_image)) < 2:
        raise ValueError(
            f"a mean over draws needs two draws and two images or more, but got {len(draws)} and {len(by_image)}."
        )
    mean = float(by_image.mean())
    parts = [float(part.var(ddof=1)) / len(part) for part in (draws, by_image)]
    variance = sum(parts)
    if not variance > 0:
        return Interval(mean, mean, mean, len(by_image), "student over draws and images", level), 1.0
    freedom = variance**2 / sum(
        part**2 / (count - 1) for part, count in zip(parts, (len(draws), len(by_image)), strict=True)
    )
    error = variance**0.5
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * error  # pyright: ignore
    p_value = 2 * float(stats.t.sf(abs(mean) / error, freedom))  # pyright: ignore
    return Interval(
        mean, mean - half, mean + half, len(by_image), "student over draws and images", level
    ), p_value


def mcnemar(
    first_correct: Shaped[np.ndarray, " first"], second_correct: Shaped[np.ndarray, " second"]
) -> McNemar:
    """Exact McNemar test of equal accuracy on the same images.

    Args:
        first_correct: Whether the first model was right, per image.
        second_correct: The same for the second model, same images in the same order.

    Raises:
        ValueError: If the lengths differ.
    """
    if len(first_correct) != len(second_correct):
        raise ValueError(
            f"mcnemar needs the same images for both, but got {len(first_correct)} and {len(second_correct)}."
        )
    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    discordant = only_first + only_second
    if discordant == 0:
        return McNemar(0, 0, len(first), 1.0)
    p_value = float(stats.binomtest(only_first, discordant).pvalue)  # pyright: ignore[reportUnknownMemberType]
    return McNemar(only_first, only_second, len(first), p_value)
