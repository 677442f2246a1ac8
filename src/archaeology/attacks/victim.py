"""The model under attack: what an attack may ask of it, every question counted.

An attack sees answers and gradients, for images in [0, 1], and nothing else. It asks a frozen copy of the model
(`folding.py`), so whatever it does, the model's weights, gradients and state stay as they were.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.folding import fast_copy
from archaeology.attacks.losses import LOSSES
from archaeology.core.halving import in_halves
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image, Label, Logits
from archaeology.specimens.specimen import Specimen

FEW = 4  # images that a copy is tried on


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says of some images.

    Attributes:
        logits: At least float32.
        losses: What the attack raises, per image.
        gradient: Of the losses with respect to the images; zero where it is not finite.
    """

    logits: Logits
    losses: Float[Tensor, " batch"]
    gradient: Image

    def wrong(self, labels: Label) -> Bool[Tensor, " batch"]:
        """Which images the model does not give the label any more."""
        return self.logits.argmax(dim=1) != labels


@dataclass(frozen=True, eq=False)
class Asked:
    """One question that an attack asked, as whoever watches it sees it.

    Attributes:
        images: What the model was shown, in [0, 1].
        rows: Which of the images under attack each of them is a version of.
        logits: What it said.
    """

    images: Image
    rows: Int[Tensor, " batch"]
    logits: Logits


Watch = Callable[[Asked], None]  # whatever it raises ends the attack and reaches the caller


class Victim:
    """A model under attack.

    Attributes:
        evaluations: How often each image was answered without a gradient.
        gradients: How often with one.
        at_once: Images in one pass; halved where memory runs out.
    """

    def __init__(
        self, specimen: Specimen, images: Image, *, at_once: int = 256, watch: Watch | None = None
    ) -> None:
        """Copy the model.

        Args:
            specimen: Any model; it stays as it is.
            images: All that will be attacked, in [0, 1].
            at_once: Images in one pass; halved where memory runs out.
            watch: Called after every question.
        """
        self.specimen = fast_copy(specimen, images[:FEW])
        self.evaluations = torch.zeros(len(images), dtype=torch.long)
        self.gradients = torch.zeros(len(images), dtype=torch.long)
        self.at_once = at_once
        self._watch, self._first = watch, 0

    def afresh(self, total: int, first: int = 0) -> "Victim":
        """The same copy of the model with counts of its own, for some of the images.

        Args:
            total: How many.
            first: What number the first of them has for whoever watches.
        """
        part = copy.copy(self)
        part.evaluations, part.gradients = torch.zeros(2, total, dtype=torch.long)
        part._first = self._first + first
        return part

    @torch.no_grad()
    def logits(self, images: Image, rows: Int[Tensor, " batch"]) -> Logits:
        """Answers, at least in float32.

        Args:
            images: In [0, 1].
            rows: Which of all images each of them is a version of.
        """
        count(self.evaluations, rows)
        parts = in_halves(lambda some: self._said(images[some]), len(images), self.at_once)
        logits = torch.cat([part for _, part in parts])
        self.show(images, rows, logits)
        return logits

    def gradient(
        self, images: Image, labels: Label, rows: Int[Tensor, " batch"], loss: str = "cross_entropy"
    ) -> Answer:
        """Answers, losses and their gradients with respect to the images.

        Args:
            images: In [0, 1].
            labels: Their classes.
            rows: Which of all images each of them is a version of.
            loss: One of `LOSSES`.

        Raises:
            ValueError: If nothing that the model says depends on the image in a way that can be differentiated.
            UnknownNameError: If there is no such loss.
        """
        if loss not in LOSSES:
            raise unknown_name("loss", loss, list(LOSSES))
        count(self.gradients, rows)
        parts = in_halves(
            lambda some: self._answer(images[some], labels[some], loss), len(images), self.at_once
        )
        answers = [part for _, part in parts]
        answer = answers[0] if len(answers) == 1 else joined(answers)
        self.show(images, rows, answer.logits)
        return answer

    def show(self, images: Image, rows: Int[Tensor, " batch"], logits: Logits) -> None:
        """Let whoever watches see a question; for attacks that ask the model in a way of their own."""
        if self._watch is not None:
            numbers = rows + self._first if self._first else rows
            self._watch(Asked(images.detach(), numbers, logits))

    def _said(self, images: Image) -> Logits:
        logits = self.specimen.predict(images)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _answer(self, images: Image, labels: Label, loss: str) -> Answer:
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            logits = self._said(images)
            losses = LOSSES[loss](logits, labels)
            gradient = None
            if logits.requires_grad:
                (gradient,) = torch.autograd.grad(losses.sum(), images, allow_unused=True)
            if gradient is None:
                raise ValueError(
                    f"this attack follows gradients, so {self.specimen.name} must be differentiable in its images, but "
                    "no gradient reaches them; use an attack that needs none, such as square."
                )
        return Answer(logits.detach(), losses.detach(), gradient.nan_to_num_(0, 0, 0))


def joined(answers: list[Answer]) -> Answer:
    """Answers about some images after the other, as one."""
    return Answer(
        torch.cat([part.logits for part in answers]),
        torch.cat([part.losses for part in answers]),
        torch.cat([part.gradient for part in answers]),
    )


def count(counts: Int[Tensor, " total"], rows: Int[Tensor, " batch"]) -> None:
    """Add one for each time that an image is among the rows."""
    counts += torch.bincount(rows.cpu(), minlength=len(counts))
