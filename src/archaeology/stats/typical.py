"""Which images show best what a head does: those where one of its figures is most extreme, kept while all pass by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

KEPT = 5


@dataclass(frozen=True, eq=False)
class Extremes:
    """The images where each figure of each head is most extreme; can be added.

    Attributes:
        scores: Best first; the larger, the more extreme. -inf where there are fewer images.
        ids: Of those images; empty where there are fewer.
    """

    scores: Float[np.ndarray, "row figure rank"]
    ids: Shaped[np.ndarray, "row figure rank"]

    @classmethod
    def of_images(cls, ids: Sequence[str], scores: Float[np.ndarray, "image row figure"]) -> "Extremes":
        """The best of some images; NaN never counts."""
        rest = np.moveaxis(np.where(np.isfinite(scores), scores, -np.inf), 0, -1)
        names = np.broadcast_to(np.array(ids, dtype=np.str_), rest.shape)
        nobody = np.full((*rest.shape[:2], KEPT), -np.inf)
        return _best(
            np.concatenate([rest, nobody], axis=2), np.concatenate([names, np.full(nobody.shape, "")], 2)
        )

    def __add__(self, other: "Extremes") -> "Extremes":
        """The best of both; of equals those whose id comes first, so that order does not matter."""
        return _best(
            np.concatenate([self.scores, other.scores], axis=2), np.concatenate([self.ids, other.ids], axis=2)
        )

    def of(self, row: int, figure: int) -> tuple[str, ...]:
        """Ids of one head's images for one figure, best first."""
        known = np.isfinite(self.scores[row, figure])
        return tuple(str(name) for name in self.ids[row, figure][known])

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `numpy.savez`; `Extremes.from_arrays` takes them back."""
        return {"scores": self.scores, "ids": self.ids}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Extremes":
        """What `arrays()` wrote."""
        return cls(np.asarray(arrays["scores"]), np.asarray(arrays["ids"]))


def _best(scores: Float[np.ndarray, "row figure n"], ids: Shaped[np.ndarray, "row figure n"]) -> Extremes:
    names, place = np.unique(ids, return_inverse=True)
    place = np.where(np.isfinite(scores), place.reshape(ids.shape), len(names))
    order = np.lexsort((place, -scores), axis=-1)[..., :KEPT]
    scores = np.take_along_axis(scores, order, axis=2)
    ids = np.where(np.isfinite(scores), np.take_along_axis(ids, order, axis=2), "")
    return Extremes(scores, ids)
