"""Means of a sheet's marks over resampled images, the same images in each draw, and what is read from them."""

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval, resampled_means
from archaeology.evaluate.sheet import Sheet

LEVEL = 0.95
# Marks, what chance gets on the same images, and which images all methods have a mark for.
Marked = tuple[
    Float[np.ndarray, "method image"], Float[np.ndarray, "method image"], Bool[np.ndarray, " image"]
]


class Draws:
    """Resampled means of everything on a sheet, the same images in each draw for all."""

    def __init__(self, sheet: Sheet, floor: str, seed: int, resamples: int) -> None:
        self.seed, self.resamples = seed, resamples
        self.of_judge: dict[str, Marked] = {}
        for column, judge in enumerate(sheet.judges):
            score, chance = sheet.score[:, column], sheet.chance[:, column]
            judged = np.asarray(np.isfinite(score).all(axis=0))
            known = bool(np.isfinite(chance[:, judged]).all()) and judged.any()
            if not known and floor not in sheet.methods:
                raise ValueError(
                    f"{judge} can only be told from chance by the marks of a random map, but {floor!r} is not among "
                    f"the methods {list(sheet.methods)}; mark it too, or name another floor."
                )
            base = chance if known else np.broadcast_to(score[sheet.methods.index(floor)], score.shape)
            self.of_judge[judge] = score, base, judged

    def means(
        self, values: Float[np.ndarray, "row image"], judged: Bool[np.ndarray, " image"] | None = None
    ) -> Float[np.ndarray, "resample row"]:
        """Means over the judged images, in every resample of all images."""
        judged = np.ones(values.shape[1], dtype=bool) if judged is None else judged
        columns = np.concatenate([np.where(judged, values, 0.0), judged[None]]).T
        drawn = resampled_means(columns, seed=self.seed, resamples=self.resamples)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = drawn[:, :-1] / drawn[:, -1:]
        return found[np.isfinite(found).all(axis=1)]  # a resample may hold no judged image


def is_above_zero(difference: Float[np.ndarray, " image"], tried: int) -> bool:
    """One-sided t-test of a mean above zero, corrected for `tried` comparisons.

    Differences without spread, as of hits on objects of one size, are all that a t-test knows nothing of: they get the
    p-value of the sign test, 1/2 for each image.
    """
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    if spread <= 1e-12 * abs(mean):
        p_value = 0.5 ** len(difference) if mean > 0 else 1.0
    else:
        statistic = mean / (spread / math.sqrt(len(difference)))
        p_value = float(stats.t.sf(statistic, len(difference) - 1))  # pyright: ignore
    return p_value * tried < (1 - LEVEL) / 2


def intervals_of(
    values: np.ndarray, draws: np.ndarray, judged: Bool[np.ndarray, " image"] | None = None
) -> list[Interval]:
    """Means over the judged images, with what the draws of them say."""
    kept = values if judged is None else values[:, judged]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [
        Interval(float(mean), float(lo), float(hi), kept.shape[1], "bootstrap", LEVEL)
        for mean, lo, hi in zip(kept.mean(axis=1), low, high, strict=True)
    ]


def ranks_of(means: Float[np.ndarray, "resample method"]) -> Float[np.ndarray, "resample method"]:
    """1 for the highest of each row; equal ones share the mean of their ranks."""
    return np.asarray(stats.rankdata(-means, axis=1, method="average"))  # pyright: ignore


def best_share(ranks: Float[np.ndarray, "resample method"], row: int) -> float:
    """Share of resamples in which this method has the lowest of these ranks, shared where several do."""
    best = ranks == ranks.min(axis=1, keepdims=True)
    return float((best[:, row] / best.sum(axis=1)).mean())
