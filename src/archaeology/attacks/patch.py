"""A patch: a few squares of the image whose pixels may take any value, put where the model looks most.

Nothing bounds how much a pixel changes, only how many do: the result's "l0" distance is at most the area of the
squares. The question it answers is not "how small a change", but "how small a place": for a transformer, one token.

Sources: `brown2017adversarial`, whose one patch works on all images; `fu2022patch`, which attacks patches of a
transformer's grid. Differs: each image has a patch of its own; and places are chosen by the gradient's energy, which
needs no attention and so serves any model.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.climb import check_counts
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.nearest import check_above_zero, surely_wrong
from archaeology.attacks.patch_places import Cells, masks, ranked, window_energy, windows
from archaeology.attacks.victim import Victim
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image

PLACES = ("gradient", "random")


@attack("patch", title="Patch", norms=("linf",), bounded=False, has_curve=False)
def patch(
    victim: Victim,
    aim: Aim,
    *,
    side: int | None = None,
    patches: int = 1,
    tries: int = 3,
    steps: int = 40,
    step_size: float = 0.3,
    place: str = "gradient",
    loss: str = "margin",
) -> Image:
    """The images where the model is wrong, or those of the last try where it never was.

    Args:
        victim: The model.
        aim: What to break; its epsilon is infinite, because pixels may take any value in [0, 1].
        side: Of the squares, in pixels, wherever in the image; None for patches of the model's own grid, or for a model
            without one for squares of a quarter of the image's side, wherever.
        patches: Squares in each image, at least 1; they do not overlap.
        tries: Sets of places tried, best first, at least 1; none is used in two of them.
        steps: Gradients of each try, at least 1.
        step_size: Of a pixel in the first step, above 0; it falls to 0 in a straight line.
        place: "gradient" for where the squared gradient of the image is largest, or "random".
        loss: Of `LOSSES`.

    Raises:
        ValueError: If a number is out of its range, or the squares do not fit.
        UnknownNameError: If there is no such way to choose places, or no such loss.

    References:
        `brown2017adversarial`, `fu2022patch`. Differs: see the module.
    """
    check_counts(patches=patches, tries=tries, steps=steps)
    check_above_zero(step_size=step_size)
    if place not in PLACES:
        raise unknown_name("way to choose places", place, list(PLACES))
    cells = windows(aim.images, side, victim.specimen.layout)
    worth = where_to_look(victim, aim, cells, place, loss)
    corners = ranked(worth, cells, patches, tries)
    found, left = aim.images.clone(), aim.rows
    for attempt in corners.unbind(1):
        left = left[(attempt[left] >= 0).all(dim=2).all(dim=1)]
        if not len(left):
            break
        inside = masks(attempt[left], cells, aim.images[left])
        left = paint(victim, aim, inside, left, found, steps, step_size, loss)
    return found


def where_to_look(
    victim: Victim, aim: Aim, cells: Cells, place: str, loss: str
) -> Float[Tensor, "batch row column"]:
    """How much each place promises."""
    if place == "gradient":
        return window_energy(victim.gradient(aim.images, aim.labels, aim.rows, loss).gradient, cells)
    shape = window_energy(aim.images[:1], cells).shape[1:]
    drawn = [
        torch.rand(shape, generator=torch_generator(aim.seed, "attack", "patch", name)) for name in aim.names
    ]
    return torch.stack(drawn).to(aim.images)


def paint(
    victim: Victim,
    aim: Aim,
    inside: Bool[Tensor, "batch 1 height width"],
    rows: Int[Tensor, " batch"],
    found: Float[Tensor, "other channel height width"],
    steps: int,
    step_size: float,
    loss: str,
) -> Int[Tensor, " left"]:
    """Climb with the pixels inside; write what is found into `found`, and return the rows that still stand."""
    original, labels = aim.images[rows], aim.labels[rows]
    images = original
    for step in range(steps + 1):
        if step < steps:
            answer = victim.gradient(images, labels, rows, loss)
            logits, gradient = answer.logits, answer.gradient
        else:
            logits, gradient = victim.logits(images, rows), images
        found[rows] = images
        stands = (~surely_wrong(logits, labels)).nonzero()[:, 0]
        rows, images, gradient, original, labels, inside = (
            one[stands] for one in (rows, images, gradient, original, labels, inside)
        )
        if step == steps or not len(rows):
            break
        # All the way at first: any value is allowed, and a patch of extremes is a better start than the image.
        stride = 1.0 if step == 0 else step_size * (1 - step / steps)
        images = torch.where(inside, (images + stride * gradient.sign()).clamp(0, 1), original)
    return rows
