"""DeepFool: go to the nearest boundary that the model would have if it were linear, and look again from there.

Source: `moosavi2016deepfool`, algorithm 2. Differs: the classes tried are those with the largest logits at the image as
changed so far; all are tried in one forward pass, for all images; an image that the model is wrong about leaves the
batch; and the boundary is aimed at from just beyond it, by no more than rounding needs.
"""

import torch

from archaeology.attacks.climb import check_counts
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.nearest import Nearest, enough, sizes, steepness, surely_wrong
from archaeology.attacks.norms import each, steepest
from archaeology.attacks.rivals import Rivals, rivals
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image


@attack("deep_fool", title="DeepFool", norms=("l2", "linf"), bounded=False)
def deep_fool(
    victim: Victim, aim: Aim, *, steps: int = 50, candidates: int = 5, overshoot: float = 0.02
) -> Image:
    """The first wrong image on the way; the image itself where there was none.

    Args:
        victim: The model.
        aim: What to break.
        steps: At most, at least 1; each costs as many gradients as there are candidates.
        candidates: Classes tried in each step, at least 1.
        overshoot: Share by which the change is made larger than the linear model says, at least 0.

    Raises:
        ValueError: If a number is out of its range.

    References:
        `moosavi2016deepfool`. Differs: see the module.
    """
    check_counts(steps=steps, candidates=candidates)
    if not 0 <= overshoot < torch.inf:
        raise ValueError(f"overshoot must be a share of at least 0, such as 0.02, but got {overshoot=}.")
    nearest = Nearest(aim)
    images, original, labels, rows = aim.images, aim.images, aim.labels, aim.rows
    change = torch.zeros_like(images)
    for _ in range(steps):
        seen = rivals(victim, images, labels, rows, candidates)
        wrong = seen.leads[:, 0] > enough(seen.logits)
        nearest.keep(rows, images, sizes(images - original, aim.norm), wrong)
        change = change + to_nearest_boundary(seen, aim.norm)
        stands = (~wrong).nonzero()[:, 0]
        images, original, labels, rows, change = (
            one[stands] for one in (images, original, labels, rows, change)
        )
        if not len(rows):
            return nearest.images
        images = (original + (1 + overshoot) * change).clamp(0, 1)
    wrong = surely_wrong(victim.logits(images, rows), labels)
    nearest.keep(rows, images, sizes(images - original, aim.norm), wrong)
    return nearest.images


def to_nearest_boundary(seen: Rivals, norm: str) -> Image:
    """The smallest change that gives one of the rivals the lead, if leads change along their gradients alone."""
    missing = (enough(seen.logits)[:, None] - seen.leads).clamp(min=0)
    steep = steepness(seen.gradients.flatten(0, 1), norm).view_as(missing)
    nearest = (missing / steep).argmin(dim=1)
    row = torch.arange(len(nearest), device=nearest.device)
    return each(missing[row, nearest] / steep[row, nearest]) * steepest(seen.gradients[row, nearest], norm)
