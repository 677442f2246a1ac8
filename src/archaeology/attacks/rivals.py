"""How far other classes are from overtaking the right one, and along which gradients, in one forward pass."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.attacks.victim import Victim, count
from archaeology.core.halving import in_halves
from archaeology.core.shapes import Image, Label, Logits


@dataclass(frozen=True, eq=False)
class Rivals:
    """Classes that come closest to the right one.

    Attributes:
        logits: At least float32.
        leads: Logit of each rival less that of the label, largest first; below 0 where the model is right.
        gradients: Of the leads with respect to the images.
    """

    logits: Logits
    leads: Float[Tensor, "batch other"]
    gradients: Float[Tensor, "batch other channel height width"]


def rivals(
    victim: Victim, images: Image, labels: Label, rows: Int[Tensor, " batch"], candidates: int
) -> Rivals:
    """The leads of the classes with the largest logits other than the label's.

    Args:
        victim: The model; each gradient counts.
        images: In [0, 1].
        labels: Their classes.
        rows: Which of all images each of them is a version of.
        candidates: How many classes, at least 1; no more than there are.

    Raises:
        ValueError: If no gradient reaches the images.
    """
    parts = [
        part
        for _, part in in_halves(
            lambda some: _few(victim, images[some], labels[some], candidates), len(images), victim.at_once
        )
    ]
    for _ in range(parts[0].leads.shape[1]):
        count(victim.gradients, rows)
    logits = torch.cat([part.logits for part in parts])
    victim.show(images, rows, logits)
    return Rivals(
        logits,
        torch.cat([part.leads for part in parts]),
        torch.cat([part.gradients for part in parts]),
    )


def _few(victim: Victim, images: Image, labels: Label, candidates: int) -> Rivals:
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        logits = victim.specimen.predict(images)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if not logits.requires_grad:
            raise ValueError(
                f"this attack follows gradients, so {victim.specimen.name} must be differentiable in its images, but "
                "no gradient reaches them; use an attack that needs none, such as square."
            )
        own = labels[:, None]
        others = logits.scatter(1, own, -torch.inf)
        classes = others.topk(min(candidates, logits.shape[1] - 1), dim=1).indices
        leads = logits.gather(1, classes) - logits.gather(1, own)
        last = leads.shape[1] - 1
        gradients = [
            torch.autograd.grad(lead.sum(), images, retain_graph=number < last)[0]
            for number, lead in enumerate(leads.unbind(1))
        ]
    return Rivals(logits.detach(), leads.detach(), torch.stack(gradients, 1).nan_to_num_(0, 0, 0))
