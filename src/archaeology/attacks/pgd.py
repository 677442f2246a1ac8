"""Projected gradient descent: step uphill on the loss, fall back into the ball of allowed changes, and again.

Source: `madry2018towards`. Differs: an image that the model is wrong about is not asked about again, so each step
costs only what still stands; and each restart begins with those that no earlier one has broken.
"""

import torch

from archaeology.attacks.method import Aim, attack
from archaeology.attacks.norms import each, project, random_start, steepest
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image


@attack("pgd", norms=("linf", "l2"))
def pgd(
    victim: Victim,
    aim: Aim,
    *,
    steps: int = 20,
    restarts: int = 1,
    step_size: float | None = None,
    loss: str = "cross_entropy",
    start: str = "random",
) -> Image:
    """The images where the model is wrong, or the last ones tried where it never was.

    Args:
        victim: The model.
        aim: What to break.
        steps: Gradients of each restart, at least 1.
        restarts: Times to begin anew, each from another random place, at least 1.
        step_size: As a share of epsilon; None for 2.5 / steps, so that the far side can be reached.
        loss: Of `LOSSES`.
        start: "random", or "image": the image itself, where restarts would all be the same.

    Raises:
        ValueError: If a number is out of its range, or restarts would repeat each other.

    References:
        `madry2018towards`. Differs: see the module.
    """
    check_counts(steps=steps, restarts=restarts)
    if start not in ("random", "image") or (start == "image" and restarts > 1):
        raise ValueError(
            f"start must be random, or image with one restart, because all would be the same, but got {start=}, "
            f"{restarts=}."
        )
    if step_size is not None and not 0 < step_size < float("inf"):
        raise ValueError(
            f"step_size must be a share of epsilon above 0, such as 0.125, but got {step_size=}."
        )
    stride = 2.5 / steps if step_size is None else step_size
    found = aim.images.clone()
    left = aim.rows
    for restart in range(restarts):
        if not len(left):
            break
        here = aim.only(left)
        images = here.images
        if start == "random":
            images = random_start(here.normal("start", restart), images, here.epsilon, aim.norm)
        left = climb(victim, aim, images, left, found, steps, stride, loss)
    return found


def climb(
    victim: Victim,
    aim: Aim,
    images: Image,
    rows: torch.Tensor,
    found: Image,
    steps: int,
    stride: float,
    loss: str,
) -> torch.Tensor:
    """Step uphill from `images`; write what is found into `found`, and return the rows that still stand."""
    original, labels, epsilon = aim.images[rows], aim.labels[rows], aim.epsilon[rows]
    for step in range(steps + 1):
        if step < steps:
            answer = victim.gradient(images, labels, rows, loss)
            gradient, wrong = answer.gradient, answer.wrong(labels)
        else:
            gradient, wrong = images, victim.logits(images, rows).argmax(dim=1) != labels
        if wrong.any():
            found[rows[wrong]] = images[wrong]
            stands = (~wrong).nonzero()[:, 0]
            rows, images, gradient, original, labels, epsilon = (
                one[stands] for one in (rows, images, gradient, original, labels, epsilon)
            )
        if not len(rows):
            return rows
        if step < steps:
            images = project(
                images + each(stride * epsilon) * steepest(gradient, aim.norm), original, epsilon, aim.norm
            )
    found[rows] = images
    return rows


def check_counts(**counts: int) -> None:
    """Raise `ValueError` for a count that is less than 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, but got {name}={value}.")
