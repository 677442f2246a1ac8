"""Steps uphill that stop for each image as soon as the model is wrong about it: what all kinds of PGD do.

Each step costs only what still stands: images that are broken are put aside and the rest moved together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.attacks.method import Aim
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image

Rows = Int[Tensor, " batch"]
Move = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # (images, gradient, original, epsilon) -> images


@dataclass(frozen=True, eq=False)
class Climb:
    """An ascent of the loss.

    Attributes:
        victim: The model.
        aim: What to break.
        found: The best images so far, for all that is aimed at; written into.
        steps: Gradients of each run.
        move: One step: `(images, gradient, original, epsilon) -> images`, within epsilon and [0, 1].
    """

    victim: Victim
    aim: Aim
    found: Image
    steps: int
    move: Move

    def run(self, images: Image, rows: Rows, loss: str) -> Int[Tensor, " standing"]:
        """Climb from `images`, which are versions of these rows, and return the rows that still stand."""
        original, labels, epsilon = self.aim.images[rows], self.aim.labels[rows], self.aim.epsilon[rows]
        for step in range(self.steps + 1):
            gradient, wrong = self._ask(images, labels, rows, loss, last=step == self.steps)
            if wrong.any():
                self.found[rows[wrong]] = images[wrong]
                stand = (~wrong).nonzero()[:, 0]
                rows, images, gradient, original, labels, epsilon = (
                    one[stand] for one in (rows, images, gradient, original, labels, epsilon)
                )
            if step == self.steps or not len(rows):
                break
            images = self.move(images, gradient, original, epsilon)
        self.found[rows] = images
        return rows

    def _ask(
        self, images: Image, labels: Rows, rows: Rows, loss: str, *, last: bool
    ) -> tuple[Image, Bool[Tensor, " batch"]]:
        """Gradient, and where the model is wrong; after the last step no gradient is needed."""
        if last:
            return images, self.victim.logits(images, rows).argmax(dim=1) != labels
        answer = self.victim.gradient(images, labels, rows, loss)
        return answer.gradient, answer.wrong(labels)


def check_counts(**counts: int) -> None:
    """Raise `ValueError` for a count that is less than 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, but got {name}={value}.")


def check_share(**shares: float | None) -> None:
    """Raise `ValueError` for a step size that is given and not a number above 0."""
    for name, value in shares.items():
        if value is not None and not 0 < value < torch.inf:
            raise ValueError(
                f"{name} must be a share of epsilon above 0, such as 0.125, but got {name}={value}."
            )
