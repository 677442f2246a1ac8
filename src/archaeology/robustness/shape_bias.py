"""Shape or texture? What models say of objects whose texture is that of another shape.

After `geirhos2019imagenet`: of the decisions that name the shape or the texture, the share that name the shape. On the
conflict split of `cue_conflict`, where texture k belongs to shape k; also after a low-pass, which takes texture away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from archaeology.core.intervals import Interval, resampled_means, wilson
from archaeology.core.shapes import Image
from archaeology.data.worlds.cue_conflict import CueBatch
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES
from archaeology.robustness.filters import low_pass
from archaeology.robustness.versions import answers_to_versions
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen

CUTOFFS = (0.0625, 0.125, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class ShapeBias:
    """What each model took the objects for.

    Attributes:
        specimens: Names of the models.
        cutoffs: Of low-passes, shares of Nyquist, ascending; infinite, the last, is none at all.
        classes: Names of the shapes.
        shape: The shape of each object.
        texture: The shape that its texture belongs to, always another one.
        answers: What each model said at each cutoff.
        seed: Of the bootstrap.
    """

    specimens: tuple[str, ...]
    cutoffs: tuple[float, ...]
    classes: tuple[str, ...]
    shape: Int[np.ndarray, " image"]
    texture: Int[np.ndarray, " image"]
    answers: Int[np.ndarray, "specimen cutoff image"]
    seed: int = 0

    @property
    def by_shape(self) -> Bool[np.ndarray, "specimen cutoff image"]:
        """Whether the shape was named."""
        return self.answers == self.shape

    @property
    def by_texture(self) -> Bool[np.ndarray, "specimen cutoff image"]:
        """Whether the texture was named."""
        return self.answers == self.texture

    def share(self, specimen: str, cutoff: float = np.inf, shape: int | None = None) -> Interval:
        """Decisions for the shape among those for shape or texture, with Wilson's interval.

        Args:
            specimen: Name of the model.
            cutoff: One of `cutoffs`.
            shape: Only of objects of this shape, if given.

        Returns:
            The interval; all NaN, with n 0, where neither was ever named.

        Raises:
            ValueError: If there is no such model or cutoff.
        """
        place = self._place(specimen, cutoff)
        chosen = self.shape == shape if shape is not None else np.ones(len(self.shape), dtype=bool)
        for_shape = int((self.by_shape[place] & chosen).sum())
        decided = for_shape + int((self.by_texture[place] & chosen).sum())
        if decided == 0:
            return Interval(float("nan"), float("nan"), float("nan"), 0, "wilson")
        return wilson(for_shape, decided)

    def difference(self, first: str, second: str, cutoff: float = np.inf) -> Interval:
        """Share of the first model minus that of the second, bootstrapped over the same images for both.

        Returns:
            The interval; all NaN where one of them never named shape or texture.

        Raises:
            ValueError: If there is no such model or cutoff.
        """
        places = [self._place(name, cutoff) for name in (first, second)]
        counted = np.stack([each[place] for place in places for each in (self.by_shape, self.by_texture)])
        nan, n = float("nan"), len(self.shape)
        value = float(_shares_apart(counted.mean(axis=1)[None])[0])
        if not np.isfinite(value):
            return Interval(nan, nan, nan, n, "bootstrap")
        apart = _shares_apart(resampled_means(counted.T.astype(np.float64), seed=self.seed))
        low, high = np.quantile(apart[np.isfinite(apart)], [0.025, 0.975])
        return Interval(value, float(low), float(high), n, "bootstrap")

    def describe(self) -> dict[str, object]:
        """Everything with intervals, ready for JSON; `cutoff` is None where nothing was filtered."""
        rows: list[dict[str, object]] = []
        differences: list[dict[str, object]] = []
        for cutoff in self.cutoffs:
            at = {"cutoff": cutoff if np.isfinite(cutoff) else None}
            rows += [{"specimen": name, **at, **self._row(name, cutoff)} for name in self.specimens]
            differences += [
                {"specimen": first, "other": second, **at, "n": len(self.shape)}
                | written("difference", self.difference(first, second, cutoff))
                for number, first in enumerate(self.specimens)
                for second in self.specimens[number + 1 :]
            ]
        return {
            "specimens": list(self.specimens),
            "n": len(self.shape),
            "table": rows,
            "differences": differences,
        }

    def _row(self, specimen: str, cutoff: float) -> dict[str, object]:
        place, n = self._place(specimen, cutoff), len(self.shape)
        share = self.share(specimen, cutoff)
        return {
            "n": n,
            "num_decisions": share.n,
            **written("shape_share", share),
            **written("shape_accuracy", wilson(int(self.by_shape[place].sum()), n)),
            **written("texture_accuracy", wilson(int(self.by_texture[place].sum()), n)),
            "by_class": {
                name: written("shape_share", self.share(specimen, cutoff, number))
                for number, name in enumerate(self.classes)
            },
        }

    def _place(self, specimen: str, cutoff: float) -> tuple[int, int]:
        if specimen not in self.specimens:
            raise ValueError(f"specimen must be one of {', '.join(self.specimens)}, but got {specimen!r}.")
        if cutoff not in self.cutoffs:
            raise ValueError(f"cutoff must be one of {self.cutoffs}, but got {cutoff}.")
        return self.specimens.index(specimen), self.cutoffs.index(cutoff)


def shape_bias(
    specimens: Sequence[Specimen],
    scenes: CueBatch,
    *,
    cutoffs: Sequence[float] = CUTOFFS,
    seed: int = 0,
    at_once: int = 256,
) -> ShapeBias:
    """What models take textured shapes for, as they are and low-passed.

    Args:
        specimens: Any models whose first logits are the shapes of `cue_conflict`, with names of their own.
        scenes: `CueConflict("conflict").generate(0, count)`.
        cutoffs: Of low-passes, shares of Nyquist, ascending; the unfiltered images are always asked, too.
        seed: Of the bootstrap.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        ValueError: If a model has other classes, shape and texture agree somewhere, or cutoffs or names do not fit.
    """
    for specimen in specimens:
        first = tuple(specimen.classes[: len(SHAPE_NAMES)])
        if specimen.classes and first != SHAPE_NAMES:
            raise ValueError(
                f"the first classes of {specimen.name} must be {', '.join(SHAPE_NAMES)}, but are {', '.join(first)}; "
                "reorder them, or use a model trained on cue_conflict."
            )
    if bool((scenes.shape == scenes.texture).any()):
        raise ValueError(
            "shape and texture must disagree in every scene, but agree in "
            f"{int((scenes.shape == scenes.texture).sum())} of {len(scenes)}; take CueConflict('conflict')."
        )
    given = checked_cutoffs(cutoffs)

    def versions(some: Image) -> Iterator[Image]:
        yield from (low_pass(some, cutoff) for cutoff in given)
        yield some

    answers = answers_to_versions(specimens, scenes.images, scenes.shape, versions, at_once)
    return ShapeBias(
        specimens=tuple(specimen.name for specimen in specimens),
        cutoffs=(*given, np.inf),
        classes=SHAPE_NAMES,
        shape=scenes.shape.cpu().numpy(),
        texture=scenes.texture.cpu().numpy(),
        answers=answers,
        seed=seed,
    )


def checked_cutoffs(cutoffs: Sequence[float]) -> tuple[float, ...]:
    """Cutoffs of filters.

    Raises:
        ValueError: If they do not ascend, or one is below 0 or infinite.
    """
    given = tuple(float(cutoff) for cutoff in cutoffs)
    if list(given) != sorted(set(given)) or not all(0 <= cutoff < np.inf for cutoff in given):
        raise ValueError(f"cutoffs must be shares of Nyquist that ascend from 0 or more, but got {given}.")
    return given


def _shares_apart(counts: np.ndarray) -> np.ndarray:
    """From (first by shape, by texture, second by shape, by texture) on the last axis, the difference of shares."""
    decided = counts[..., 0] + counts[..., 1], counts[..., 2] + counts[..., 3]
    safe = [np.where(each > 0, each, np.nan) for each in decided]
    return counts[..., 0] / safe[0] - counts[..., 2] / safe[1]
