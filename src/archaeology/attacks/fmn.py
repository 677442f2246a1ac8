"""Fast minimum norm: a ball of allowed changes that shrinks where the model is wrong in it and grows where it is right.

Steps follow the gradient of the lead of another class, each projected into the image's own ball. Before anything is
found, the ball is as large as it would have to be if the model were linear from there on.

Source: `pintor2021fast`, algorithm 1. Differs: an image counts as wrong only beyond rounding (`nearest.py`); the ball
grows at least by its rate as long as nothing is found, because values cut to [0, 1] keep a change from reaching where a
linear model says; and only the "l2" and "linf" norms are there.
"""

import math

import torch

from archaeology.attacks.climb import check_counts
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.nearest import Nearest, check_above_zero, enough, sizes, steepness
from archaeology.attacks.norms import project, steepest
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image

STEP_SIZES = {"l2": 1.0, "linf": 10.0}  # the authors': as Euclidean lengths, in both norms
LAST_STEP = 0.01  # share of the first
LAST_GAMMA = 0.001


@attack("fmn", title="FMN", norms=("l2", "linf"), bounded=False)
def fmn(
    victim: Victim, aim: Aim, *, steps: int = 100, step_size: float | None = None, gamma: float = 0.05
) -> Image:
    """The nearest wrong image found; the image itself where none was.

    Args:
        victim: The model.
        aim: What to break.
        steps: Gradients, at least 1.
        step_size: Euclidean length of the first step; it falls along half a cosine to a hundredth. None for 1 in the
            "l2" norm and 10 in "linf", where the ball cuts it anyway.
        gamma: Share by which the ball shrinks or grows at first, in (0, 1); it falls to 0.001.

    Raises:
        ValueError: If a number is out of its range.

    References:
        `pintor2021fast`. Differs: see the module.
    """
    step_size = STEP_SIZES[aim.norm] if step_size is None else step_size
    check_counts(steps=steps)
    check_above_zero(step_size=step_size)
    if not 0 < gamma < 1:
        raise ValueError(f"gamma must lie between 0 and 1, such as 0.05, but got {gamma=}.")
    nearest = Nearest(aim)
    images, rows = aim.images, aim.rows
    largest = sizes(torch.maximum(images, 1 - images), aim.norm)
    ball = torch.full_like(nearest.far, torch.inf)
    for step in range(steps):
        answer = victim.gradient(images, aim.labels, rows, "margin")
        lead = answer.losses - enough(answer.logits)
        far = sizes(images - aim.images, aim.norm)
        nearest.keep(rows, images, far, lead > 0)
        rate = annealed(gamma, LAST_GAMMA, step / steps)
        as_if_linear = far + lead.abs() / steepness(answer.gradient, aim.norm)
        wider = ball * (1 + rate)
        guess = torch.where(ball.isinf(), as_if_linear, torch.maximum(as_if_linear, wider))
        outward = torch.where(nearest.far.isinf(), guess, wider)
        inward = torch.minimum(ball * (1 - rate), nearest.far)
        ball = torch.minimum(torch.where(lead > 0, inward, outward), largest)
        stride = annealed(step_size, step_size * LAST_STEP, step / steps)
        images = project(images + stride * steepest(answer.gradient, "l2"), aim.images, ball, aim.norm)
    return nearest.images


def annealed(first: float, last: float, passed: float) -> float:
    """A number on its way from `first` to `last` along half a cosine, when this share of the steps has passed."""
    return last + (first - last) * (1 + math.cos(math.pi * passed)) / 2
