"""What losing patches costs each model, on the same images: accuracies, what was lost, and who lost less.

Two models that start from different accuracies are compared by what each lost of its own, besides by what each has
left.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from archaeology.core.intervals import bootstrap_means, wilson
from archaeology.core.many import paired_share
from archaeology.robustness.written import written

CURVES = ("drop_random", "drop_salient", "drop_least_salient")
CLEAN = "clean"


@dataclass(frozen=True)
class Disturbance:
    """What was done to all images.

    Attributes:
        kind: "clean", one of the drops ("drop_random", "drop_salient", "drop_least_salient"), "occlude_middle",
            "occlude_random" or "shuffle".
        level: Share of the patches, or of the area, that was lost; for "shuffle" the pieces along each side.
    """

    kind: str
    level: float


@dataclass(frozen=True, eq=False)
class PatchRobustness:
    """Which images each model still knows, whatever was done to them.

    Attributes:
        specimens: Names of the models.
        disturbances: What was done; the first is "clean".
        correct: Whether each model was right.
        explanations: What ordered the patches of each model: "method" of its own, or "method of guide".
        grid: Rows and columns of patches.
        fill: What stands where a patch was: "black" or "mean" (colour of the image).
        seed: Of what was drawn.
    """

    specimens: tuple[str, ...]
    disturbances: tuple[Disturbance, ...]
    correct: Bool[np.ndarray, "specimen disturbance image"]
    explanations: tuple[str, ...]
    grid: tuple[int, int]
    fill: str
    seed: int

    @property
    def num_images(self) -> int:
        """How many images all models saw."""
        return self.correct.shape[2]

    def table(self) -> list[dict[str, object]]:
        """One row for each model and disturbance: `specimen, kind, level, n`, `accuracy` and `lost`.

        `accuracy` has Wilson's interval, `lost` (clean minus disturbed, the same images) a paired one, in `_low` and
        `_high`.
        """
        rows: list[dict[str, object]] = []
        for name, correct in zip(self.specimens, self.correct, strict=True):
            for what, right in zip(self.disturbances, correct, strict=True):
                lost = paired_share(correct[0], right)
                accuracy = wilson(int(right.sum()), self.num_images)
                rows.append(
                    {"specimen": name, "kind": what.kind, "level": what.level, "n": self.num_images}
                    | written("accuracy", accuracy)
                    | written("lost", lost)
                )
        return rows

    def differences(self) -> list[dict[str, object]]:
        """One row for each two models and disturbance, paired over images.

        Keys: `specimen, other, kind, level, n`, `accuracy_difference` (the first minus the other) and
        `lost_difference` (what the first lost minus what the other lost; below zero where the first holds out better,
        wherever both started), each with `_low` and `_high`.
        """
        correct = self.correct.astype(np.float64)
        lost = correct[:, :1] - correct
        rows: list[dict[str, object]] = []
        for first, other in combinations(range(len(self.specimens)), 2):
            intervals = bootstrap_means((lost[first] - lost[other]).T, seed=self.seed)
            for number, what in enumerate(self.disturbances):
                share = paired_share(self.correct[first, number], self.correct[other, number])
                rows.append(
                    {"specimen": self.specimens[first], "other": self.specimens[other]}
                    | {"kind": what.kind, "level": what.level, "n": self.num_images}
                    | written("accuracy_difference", share)
                    | written("lost_difference", intervals[number])
                )
        return rows

    def curve(
        self, kind: str
    ) -> tuple[Float[np.ndarray, " point"], Bool[np.ndarray, "specimen point image"]]:
        """Shares of patches lost from 0 on, and who was right there.

        Raises:
            ValueError: If no patches were lost in this way.
        """
        chosen = [number for number, what in enumerate(self.disturbances) if what.kind == kind]
        if not chosen or kind not in CURVES:
            known = [name for name in CURVES if any(what.kind == name for what in self.disturbances)]
            raise ValueError(f"kind must be a drop that was tried ({', '.join(known)}), but got {kind!r}.")
        points = np.array([0.0, *(self.disturbances[number].level for number in chosen)])
        return points, self.correct[:, [0, *chosen]]

    def areas(self) -> list[dict[str, object]]:
        """One number for each model's curve, and for what tells two curves apart.

        Rows: `specimen, kind, n` and `area`, the mean accuracy along the curve from nothing lost to the last share
        (trapezoids), bootstrapped over images; `other` names what was taken off, where it is a difference: another
        model's curve of the same kind, or the same model's curve of random drop ("drop_random").
        """
        kinds = [kind for kind in CURVES if any(what.kind == kind for what in self.disturbances)]
        heights = {kind: _heights(*self.curve(kind)) for kind in kinds}
        names = self.specimens
        asked: list[tuple[str, str, str | None, Float[np.ndarray, " image"]]] = []
        for kind, height in heights.items():
            asked += [(name, kind, None, height[row]) for row, name in enumerate(names)]
            asked += [
                (names[first], kind, names[other], height[first] - height[other])
                for first, other in combinations(range(len(names)), 2)
            ]
            if kind != CURVES[0] and CURVES[0] in heights:
                gap = height - heights[CURVES[0]]
                asked += [(name, kind, CURVES[0], gap[row]) for row, name in enumerate(names)]
        if not asked:
            return []
        intervals = bootstrap_means(np.stack([values for *_, values in asked], axis=1), seed=self.seed)
        return [
            {"specimen": name, "kind": kind, "other": other, "n": self.num_images} | written("area", interval)
            for (name, kind, other, _), interval in zip(asked, intervals, strict=True)
        ]

    def describe(self) -> dict[str, object]:
        """All tables and how they were made, ready for JSON."""
        return {
            "specimens": list(self.specimens),
            "explanations": list(self.explanations),
            "grid": list(self.grid),
            "fill": self.fill,
            "seed": self.seed,
            "n": self.num_images,
            "table": self.table(),
            "areas": self.areas(),
            "differences": self.differences(),
        }


def _heights(
    shares: Float[np.ndarray, " point"], correct: Bool[np.ndarray, "specimen point image"]
) -> Float[np.ndarray, "specimen image"]:
    """Mean height of each image's own curve: 1 where a model always knew it."""
    return np.trapezoid(correct.astype(np.float64), shares, axis=1) / shares[-1]
