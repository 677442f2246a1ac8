"""How coarse, or how fine, may images become before a model no longer knows them.

Accuracy on low-passed and on high-passed images over the cutoff. A model that lives on fine texture falls early on the
first and late on the second; one that lives on shape does it the other way round. After `yin2019fourier`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.core.intervals import wilson
from archaeology.core.many import paired_share
from archaeology.core.shapes import Image, PixelImage
from archaeology.robustness.filters import high_pass, low_pass
from archaeology.robustness.versions import answers_to_versions
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen

CUTOFFS = (0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0)
KINDS = ("low", "high")


@dataclass(frozen=True, eq=False)
class PassCurves:
    """Which images each model still knows.

    Attributes:
        specimens: Names of the models.
        cutoffs: Shares of Nyquist, ascending.
        clean: Whether each model was right on the images as they are.
        correct: The same for low-passed and for high-passed ones.
    """

    specimens: tuple[str, ...]
    cutoffs: tuple[float, ...]
    clean: Bool[np.ndarray, "specimen image"]
    correct: Bool[np.ndarray, "specimen 2 cutoff image"]

    def table(self) -> list[dict[str, object]]:
        """One row for each model, kind and cutoff, with Wilson's and a paired interval.

        Keys: `specimen, kind` ("low" or "high"), `cutoff, n, accuracy` and `lost` (clean minus filtered).
        """
        num_images = self.clean.shape[1]
        rows: list[dict[str, object]] = []
        for number, name in enumerate(self.specimens):
            for which, kind in enumerate(KINDS):
                for place, cutoff in enumerate(self.cutoffs):
                    right = self.correct[number, which, place]
                    rows.append(
                        {"specimen": name, "kind": kind, "cutoff": cutoff, "n": num_images}
                        | written("accuracy", wilson(int(right.sum()), num_images))
                        | written("lost", paired_share(self.clean[number], right))
                    )
        return rows

    def describe(self) -> dict[str, object]:
        """Everything with intervals, ready for JSON."""
        num_images = self.clean.shape[1]
        return {
            "specimens": list(self.specimens),
            "cutoffs": list(self.cutoffs),
            "n": num_images,
            "clean": {
                name: written("accuracy", wilson(int(right.sum()), num_images))
                for name, right in zip(self.specimens, self.clean, strict=True)
            },
            "table": self.table(),
        }


def pass_curves(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    cutoffs: Sequence[float] = CUTOFFS,
    at_once: int = 256,
) -> PassCurves:
    """Accuracy on images without their fine patterns, and without their coarse ones.

    Args:
        specimens: Any models that call the same classes by the same numbers, with names of their own.
        images: Floats in [0, 1] or 8 bit; filtered in the size they are given.
        labels: Their classes.
        cutoffs: Shares of Nyquist, ascending, none below 0.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        ValueError: If cutoffs, names or labels do not fit, or an answer is not finite.
    """
    given = tuple(float(cutoff) for cutoff in cutoffs)
    if not given or list(given) != sorted(set(given)) or not given[0] >= 0:
        raise ValueError(f"cutoffs must be shares of Nyquist that ascend from 0 or more, but got {given}.")

    def versions(some: Image) -> Iterator[Image]:
        yield some
        for edit in (low_pass, high_pass):
            for cutoff in given:
                yield edit(some, cutoff)

    classes = answers_to_versions(specimens, images, labels, versions, at_once)
    correct = classes == labels.cpu().numpy()
    shape = (len(specimens), len(KINDS), len(given), len(images))
    names = tuple(specimen.name for specimen in specimens)
    return PassCurves(names, given, correct[:, 0], correct[:, 1:].reshape(shape))
