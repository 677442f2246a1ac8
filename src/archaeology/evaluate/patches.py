"""From a map to an order of patches: the same question for every method, whatever grid its map has."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.shapes import Heatmap
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


def on_grid(heatmap: Heatmap, grid: tuple[int, int]) -> Float[Tensor, "batch grid_row grid_column"]:
    """A map on another grid: averaged over the places of each patch where it is finer, else enlarged bilinearly."""
    if tuple(heatmap.shape[1:]) == grid:
        return heatmap
    if heatmap.shape[1] >= grid[0] and heatmap.shape[2] >= grid[1]:
        return F.interpolate(heatmap[:, None], grid, mode="area")[:, 0]
    return F.interpolate(heatmap[:, None], grid, mode="bilinear", align_corners=False)[:, 0]


def patch_values(
    trial: Trial, explanation: Explanation, *, signed: bool = True
) -> Float[Tensor, "batch patch"]:
    """What the explanation says of each patch of the trial's grid; the same everywhere where it has no evidence.

    Args:
        trial: What is judged on.
        explanation: Of the trial's images.
        signed: Signed shares where the method has them (for an order), or what is drawn, >= 0 (for where it lies).

    Raises:
        ValueError: If the explanation is of other images.
    """
    values = explanation.ranking if signed else explanation.heatmap
    if len(values) != len(trial):
        raise ValueError(
            f"the explanation must be of the trial's {len(trial)} images, but has {len(values)} maps; explain "
            "trial.images."
        )
    says = explanation.has_evidence.to(trial.images.device) & values.flatten(1).isfinite().all(dim=1).to(
        trial.images.device
    )
    values = on_grid(values.detach().to(trial.images), trial.grid).flatten(1)
    return torch.where(says[:, None], values, torch.zeros_like(values))


def order_of(trial: Trial, values: Float[Tensor, "batch patch"]) -> Int[Tensor, "batch patch"]:
    """Numbers of the patches, most telling first; equal ones in an order drawn for each image."""
    shuffled = trial.random("order of equal patches", trial.num_patches).argsort(dim=1)
    first = values.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    return shuffled.gather(1, first)


def place_in_order(trial: Trial, explanation: Explanation) -> Int[Tensor, "batch patch"]:
    """For each patch how many come before it: 0 for the most telling one."""
    return order_of(trial, patch_values(trial, explanation)).argsort(dim=1)


def counts_of(shares: Float[Tensor, " share"], num_patches: int) -> Int[Tensor, " count"]:
    """Shares of the patches as whole numbers of them, each once."""
    return (shares * num_patches).round().long().unique()


def inside_of(trial: Trial) -> tuple[Float[Tensor, "batch patch"], Bool[Tensor, " batch"]]:
    """Share of each patch that the object covers, and the images where that is known.

    Raises:
        ValueError: If the trial knows no truth.
    """
    if trial.truth is None:
        raise ValueError("this judge needs the truth, but the trial has none; make it with masks= or boxes=.")
    known = ~trial.truth.flatten(1).isnan().any(dim=1)
    owner = trial.patch_of_pixel.flatten()
    truth = trial.truth.nan_to_num().flatten(1)
    summed = torch.zeros(len(truth), trial.num_patches).to(truth).index_add(1, owner, truth)
    return summed / owner.bincount(minlength=trial.num_patches), known
