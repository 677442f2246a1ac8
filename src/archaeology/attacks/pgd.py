"""Projected gradient descent: step uphill on the loss, fall back into the ball of allowed changes, and again.

Source: `madry2018towards`. Differs: an image that the model is wrong about is not asked about again, so each step
costs only what still stands; each restart begins with those that no earlier one has broken; and what cross-entropy
does not break can be tried with a second loss, because the first hardly has a gradient where the model is very sure.
"""

from archaeology.attacks.climb import Climb, check_counts, check_share
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.norms import PerImage, each, project, random_start, steepest
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image


@attack("pgd", title="PGD", norms=("linf", "l2"))
def pgd(
    victim: Victim,
    aim: Aim,
    *,
    steps: int = 20,
    restarts: int = 1,
    step_size: float | None = None,
    loss: str = "cross_entropy",
    second_loss: str | None = None,
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
        second_loss: Climbed once more, with as many steps, by what stands after all restarts; None to leave it at that.
        start: "random", or "image": the image itself, where restarts would all be the same.

    Raises:
        ValueError: If a number is out of its range, or restarts would repeat each other.

    References:
        `madry2018towards`. Differs: see the module.
    """
    check_counts(steps=steps, restarts=restarts)
    check_share(step_size=step_size)
    if start not in ("random", "image") or (start == "image" and restarts > 1):
        raise ValueError(
            f"start must be random, or image with one restart, because all would be the same, but got {start=}, "
            f"{restarts=}."
        )
    stride = 2.5 / steps if step_size is None else step_size

    def move(images: Image, gradient: Image, original: Image, epsilon: PerImage) -> Image:
        further = images + each(stride * epsilon) * steepest(gradient, aim.norm)
        return project(further, original, epsilon, aim.norm)

    climb = Climb(victim, aim, aim.images.clone(), steps, move)
    left = aim.rows
    for restart, raised in enumerate([loss] * restarts + ([second_loss] if second_loss else [])):
        if not len(left):
            break
        here = aim.only(left)
        begin = here.images
        if start == "random":
            begin = random_start(here.normal("start", restart), begin, here.epsilon, aim.norm)
        left = climb.run(begin, left, raised)
    return climb.found
