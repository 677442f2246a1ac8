"""How the target's probability falls as patches go, most telling first, or rises as they come."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.evaluate.edited import answers, filled_with, probability
from archaeology.evaluate.fill import fill_of
from archaeology.evaluate.patches import counts_of, place_in_order
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation

Way = Literal["deletion", "insertion"]


def curve(
    trial: Trial, explanation: Explanation, way: Way, *, fill: str, steps: int
) -> tuple[Float[Tensor, " point"], Float[Tensor, "batch point"]]:
    """Share of patches changed, from 0 to 1, and the target's probability there.

    Args:
        trial: What is judged on.
        explanation: Gives the order of the patches.
        way: "deletion" starts from the image and takes patches away; "insertion" starts from the fill and puts them
            back.
        fill: What stands where a patch is not; see `fill.py`.
        steps: Parts that the order is cut into, as even as whole patches allow.

    Raises:
        ValueError: If `steps` is not positive.
        UnknownNameError: If there is no such fill.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, but got {steps=}.")
    key = ("curve", explanation, way, fill, steps)
    if key not in trial.memo:
        place = place_in_order(trial, explanation)
        counts = counts_of(torch.linspace(0, 1, steps + 1, dtype=torch.float64), trial.num_patches).to(place)
        changed = place[:, None, :] < counts[:, None]
        stays = ~changed if way == "deletion" else changed
        logits = answers(trial, stays, filled_with(fill_of(trial, fill)))
        trial.memo[key] = counts.to(trial.images) / trial.num_patches, probability(trial, logits)
    return trial.memo[key]


def area_under(
    share: Float[Tensor, " point"], values: Float[Tensor, "batch point"]
) -> Float[Tensor, " batch"]:
    """Area under each curve by the trapezoid rule; between 0 and 1 for probabilities."""
    return torch.trapezoid(values, share, dim=1)
