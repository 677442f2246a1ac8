"""Ask the model about many edited copies of each image, as many at once as the memory holds."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.halving import in_halves
from archaeology.core.shapes import Image
from archaeology.evaluate.trial import Trial

# Images, which pixels stay, and the images' numbers in the trial -> edited images.
Edit = Callable[[Image, Bool[Tensor, "batch height width"], Int[Tensor, " batch"]], Image]


def filled_with(fill: Image) -> Edit:
    """Put `fill` (one for each image of the trial) where pixels do not stay."""

    def edit(
        images: Image, stays: Bool[Tensor, "batch height width"], number: Int[Tensor, " batch"]
    ) -> Image:
        return torch.where(stays[:, None], images, fill[number])

    return edit


@torch.no_grad()
def answers(
    trial: Trial, stays: Bool[Tensor, "batch step patch"], edit: Edit
) -> Float[Tensor, "batch step classes"]:
    """The logits for every image and every choice of patches that stay.

    Args:
        trial: Images and model.
        stays: Which patches of each image are left as they are, in each of its edited copies.
        edit: What becomes of the others.
    """
    return answers_of(trial, torch.arange(len(trial), device=stays.device), stays, edit)


@torch.no_grad()
def answers_of(
    trial: Trial, which: Int[Tensor, " some"], stays: Bool[Tensor, "some step patch"], edit: Edit
) -> Float[Tensor, "some step classes"]:
    """As `answers`, for some of the trial's images: those whose numbers are in `which`."""
    batch, steps, _ = stays.shape
    flat, owner = stays.flatten(0, 1), trial.patch_of_pixel
    number = which.repeat_interleave(steps)

    def run(rows: slice) -> Tensor:
        images = trial.images[number[rows]]
        return trial.specimen.predict(edit(images, flat[rows][:, owner], number[rows]))

    parts = in_halves(run, batch * steps, trial.at_once)
    found = torch.cat([part for _, part in parts])
    return found.unflatten(0, (batch, steps)).to(trial.images.dtype)


def probability(trial: Trial, logits: Float[Tensor, "batch step classes"]) -> Float[Tensor, "batch step"]:
    """Softmax probability of the target in every answer."""
    chosen = trial.target[:, None, None].expand(-1, logits.shape[1], 1)
    return logits.softmax(dim=-1).gather(2, chosen)[..., 0]


def target_logit(trial: Trial, logits: Float[Tensor, "batch step classes"]) -> Float[Tensor, "batch step"]:
    """Logit of the target in every answer."""
    return logits.gather(2, trial.target[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
