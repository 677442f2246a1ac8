"""What a curve says: accuracy at every epsilon, the area below, the median smallest change, and who holds out longer.

Between the last size that an image withstood and the first that broke it, nobody looked. So the interval of an area
takes the former at its lower end and the latter at its upper end, and it holds for images not seen too
(`core/bounded.py`): eight images that all break between the same two sizes do not make a number exact.

A median needs no number for images that were never broken: they lie above all others. Its interval is that of two
order statistics, from the binomial distribution, whatever the distances look like.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.attacks.result import AttackResult
from archaeology.core.bounded import bounded_means
from archaeology.core.intervals import Interval, mcnemar, wilson
from archaeology.core.many import corrected, paired_share
from archaeology.core.storage import plain_json
from archaeology.robustness.written import written


@dataclass(frozen=True, eq=False)
class RobustnessCurve:
    """What is left of a model's accuracy within each epsilon.

    Attributes:
        specimen: Name of the model.
        epsilons: Sizes of the change, ascending from 0, in units of images in [0, 1].
        smallest: Number of the first epsilon that breaks each image; 0 where the model was wrong anyway, the number of
            epsilons where it is never broken.
        again: Parameters of the second round, None without one.
        found: The changed images, checked, each within its smallest epsilon; their distances are those found, which lie
            between two epsilons.
        seed: Of everything random.
    """

    specimen: str
    epsilons: tuple[float, ...]
    smallest: Int[np.ndarray, " image"]
    again: Mapping[str, object] | None
    found: AttackResult
    seed: int

    @property
    def correct(self) -> Bool[np.ndarray, "epsilon image"]:
        """Whether the model withstands every change tried within each epsilon."""
        return np.arange(len(self.epsilons))[:, None] < self.smallest

    @property
    def accuracy(self) -> list[Interval]:
        """At each epsilon: an upper bound, since another attack may find more."""
        return [wilson(int(right.sum()), len(right)) for right in self.correct]

    @property
    def heights(self) -> Float[np.ndarray, " image"]:
        """Mean height of each image's own curve from 0 to the largest epsilon (trapezoids): 1 where never broken."""
        sizes = np.array(self.epsilons)
        return np.trapezoid(self.correct.T.astype(np.float64), sizes, axis=1) / sizes[-1]

    @property
    def height_ends(self) -> tuple[Float[np.ndarray, " image"], Float[np.ndarray, " image"]]:
        """The least and the most that each height can be: broken just above the last size withstood, or at the next."""
        sizes = np.array(self.epsilons) / self.epsilons[-1]
        last = np.maximum(self.smallest, 1) - 1
        broken = np.minimum(self.smallest, len(sizes) - 1)
        return sizes[last], sizes[broken]

    @property
    def area(self) -> Interval:
        """Mean accuracy between 0 and the largest epsilon; its interval holds wherever between sizes images break."""
        low, high = self.height_ends
        return bounded_means(low[:, None], high[:, None], (0.0, 1.0), seed=self.seed)[0]

    @property
    def distances(self) -> Float[np.ndarray, " image"]:
        """Size of the smallest change found: 0 where the model was wrong anyway, infinite where never broken."""
        far = self.found.distances[self.found.norm].cpu().numpy()
        return np.where(self.smallest < len(self.epsilons), far, np.inf)

    @property
    def median(self) -> Interval:
        """Size that breaks half of all images; infinite where fewer were broken."""
        return median_interval(self.distances)

    @property
    def lost_in_rounding(self) -> Interval | None:
        """Share of the broken images that come back when rounded to 8 bits; None where none was broken."""
        broken = (self.found.success & self.found.clean_correct).cpu()
        lost = broken & ~self.found.success_8bit.cpu()
        return wilson(int(lost.sum()), int(broken.sum())) if broken.any() else None

    def table(self) -> list[dict[str, object]]:
        """One row for each epsilon: `specimen, epsilon, n, accuracy` with Wilson's interval in `_low` and `_high`."""
        return [
            {"specimen": self.specimen, "epsilon": size, "n": share.n} | written("accuracy", share)
            for size, share in zip(self.epsilons, self.accuracy, strict=True)
        ]

    def describe(self) -> dict[str, object]:
        """Everything but the images, ready for JSON; null stands for infinity."""
        rounding = self.lost_in_rounding
        made: dict[str, object] = {
            "specimen": self.specimen,
            "attack": self.found.attack,
            "norm": self.found.norm,
            "parameters": self.found.parameters,
            "again": self.again,
            "seed": self.seed,
            "n": len(self.smallest),
            "epsilons": self.epsilons,
            "table": self.table(),
            "smallest": self.smallest,
            "gradients": int(self.found.gradients.sum()),
            "evaluations": int(self.found.evaluations.sum()),
        }
        made |= written("area", self.area) | written("median", self.median)
        return plain_json(made | ({} if rounding is None else written("lost_in_rounding", rounding)))


@dataclass(frozen=True, eq=False)
class RobustnessCurves:
    """Curves of several models on the same images.

    Attributes:
        curves: One for each model, same epsilons.
    """

    curves: tuple[RobustnessCurve, ...]

    def differences(self) -> list[dict[str, object]]:
        """One row for each two models and epsilon, paired over images.

        Keys: `specimen, other, epsilon, n`, `difference` (accuracy of the first minus the other) with `_low` and
        `_high`, `p_value` of McNemar's test and `p_corrected` (Holm, over all rows).
        """
        rows: list[dict[str, object]] = []
        p_values: list[float] = []
        for first, other in combinations(self.curves, 2):
            for size, right, others in zip(first.epsilons, first.correct, other.correct, strict=True):
                p_values.append(mcnemar(right, others).p_value)
                rows.append(
                    {"specimen": first.specimen, "other": other.specimen, "epsilon": size, "n": len(right)}
                    | written("difference", paired_share(right, others))
                )
        return [
            row | {"p_value": p_value, "p_corrected": float(strict)}
            for row, p_value, strict in zip(rows, p_values, corrected(np.array(p_values)), strict=True)
        ]

    def areas(self) -> list[dict[str, object]]:
        """One row for each two models: `specimen, other, n` and `difference` of the areas, paired over images.

        Areas are those below straight lines between the sizes tried, so that a pair that breaks between the same two
        counts as equal. The intervals hold for all rows together (Bonferroni).
        """
        pairs = list(combinations(self.curves, 2))
        if not pairs:
            return []
        gaps = np.stack([first.heights - other.heights for first, other in pairs], axis=1).clip(-1, 1)
        level = 1 - 0.05 / len(pairs)
        intervals = bounded_means(gaps, gaps, (-1.0, 1.0), seed=self.curves[0].seed, level=level)
        return [
            {"specimen": first.specimen, "other": other.specimen, "n": interval.n}
            | written("difference", interval)
            for (first, other), interval in zip(pairs, intervals, strict=True)
        ]

    def describe(self) -> dict[str, object]:
        """Curves and what tells them apart, ready for JSON."""
        return {
            "curves": [curve.describe() for curve in self.curves],
            "differences": self.differences(),
            "areas": self.areas(),
        }


def median_interval(values: Float[np.ndarray, " n"], level: float = 0.95) -> Interval:
    """The median, between two order statistics that hold it with at least this probability; infinities are welcome.

    The r-th smallest value lies above the median with probability P(fewer than r of n fall below it), that is
    P(Binomial(n, 1/2) < r). With fewer than 6 values no two of them suffice at 95 %, and the interval is open.

    Raises:
        ValueError: If there is no value, or one is NaN.
    """
    if len(values) == 0 or np.isnan(values).any():
        raise ValueError(f"a median needs at least one value and no NaN, but got {len(values)} values.")
    ordered, n = np.sort(values), len(values)
    with np.errstate(invalid="ignore"):
        middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    rank = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # pyright: ignore[reportUnknownMemberType]
    # The largest r with P(Binomial < r) <= (1 - level) / 2 is the quantile itself.
    low, high = (0.0, np.inf) if rank < 1 else (ordered[rank - 1], ordered[n - rank])
    return Interval(float(middle), float(low), float(high), n, "order statistics", level)
