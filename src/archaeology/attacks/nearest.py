"""The nearest wrong image found so far, for attacks that look for the smallest change.

The smallest change ends right at the boundary between two classes, where rounding decides what a model says. An image
counts here only if the model is wrong by a little more than rounding, so that it is still wrong when asked again.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.losses import margin
from archaeology.attacks.method import Aim
from archaeology.attacks.norms import TINY, lengths
from archaeology.core.shapes import Image, Label, Logits

SURE = 1e-4  # of the largest logit: by how much another class must lead


class Nearest:
    """What an attack has found.

    Attributes:
        images: For each image the nearest one on which the model is surely wrong; the image itself where there is none.
        far: Its distance; infinite where there is none.
    """

    def __init__(self, aim: Aim) -> None:
        """Begin with nothing found."""
        self.images = aim.images.clone()
        self.far = aim.images.new_full((len(aim),), torch.inf)
        self._norm = aim.norm

    def keep(
        self,
        rows: Int[Tensor, " batch"],
        images: Image,
        far: Float[Tensor, " batch"],
        wrong: Bool[Tensor, " batch"],
    ) -> None:
        """Remember those of the images that are wrong and nearer than what was found before.

        Args:
            rows: Which of all images each of them is a version of, each at most once.
            images: In [0, 1].
            far: Their distances.
            wrong: Which count.
        """
        better = wrong & (far < self.far[rows])
        where = rows[better]
        self.images[where] = images[better]
        self.far[where] = far[better]


def enough(logits: Logits) -> Float[Tensor, " batch"]:
    """By how much another class must lead, so that rounding does not take the lead away."""
    return SURE * logits.abs().amax(dim=1)


def surely_wrong(logits: Logits, labels: Label) -> Bool[Tensor, " batch"]:
    """Where another class leads by more than rounding."""
    return margin(logits, labels) > enough(logits)


def sizes(change: Image, norm: str) -> Float[Tensor, " batch"]:
    """How large each change is."""
    return lengths(change) if norm == "l2" else change.abs().amax(dim=(1, 2, 3))


def steepness(gradients: Image, norm: str) -> Float[Tensor, " batch"]:
    """How much a function with this gradient rises along the best change of size 1: its dual norm, above 0."""
    dual = lengths(gradients) if norm == "l2" else gradients.abs().sum(dim=(1, 2, 3))
    return dual.clamp(min=TINY)


def check_above_zero(**values: float) -> None:
    """Raise `ValueError` for a number that is not above 0, or is infinite."""
    for name, value in values.items():
        if not 0 < value < torch.inf:
            raise ValueError(f"{name} must be a finite number above 0, but got {name}={value}.")
