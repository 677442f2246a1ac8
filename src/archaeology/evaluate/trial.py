"""A trial is what explanations are marked on: a model, some images, the class explained, and the truth where known.

All judges speak of one grid of patches, the trial's. A map with finer places is averaged over each patch, a coarser one
is enlarged bilinearly, so maps of pixels, of patches and of a CNN's last layer compare fairly: each is asked for an
order of the same patches. What is random (the order of equal patches, subsets, noise) is drawn for each image from
its own content, so an image gets the same marks alone, in any batch and with any number of chunks.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.capture.record import checked_target, unit_images
from archaeology.core.halving import in_halves
from archaeology.core.seeding import content_names, torch_generator
from archaeology.core.shapes import Image, Label, Logits, PixelImage
from archaeology.specimens.layout import cell_of_pixel, patch_grid
from archaeology.specimens.specimen import Specimen
from archaeology.stats.scene import inside_boxes


@dataclass(frozen=True, eq=False)
class Trial:
    """What explanations are marked on; made by `trial_of`.

    Attributes:
        specimen: The model explained.
        images: In [0, 1].
        target: The class whose explanation is judged, per image.
        truth: Share of each pixel that the object covers, 0 to 1, NaN in images where it is not known; None if no image
            has a box or mask.
        grid: Rows and columns of patches that all maps are brought to.
        seed: Of everything random.
        at_once: Edited images that the model sees in one pass; halved where memory runs out.
        memo: What judges of the same trial share, such as the model's answers to the same edited images.
    """

    specimen: Specimen
    images: Image
    target: Label
    truth: Float[Tensor, "batch height width"] | None
    grid: tuple[int, int]
    seed: int = 0
    at_once: int = 128
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_patches(self) -> int:
        """How many patches the grid has."""
        return self.grid[0] * self.grid[1]

    @property
    def patch_of_pixel(self) -> Int[Tensor, "height width"]:
        """Number of the patch that each pixel's centre lies in, row by row."""
        height, width = self.images.shape[-2:]
        return cell_of_pixel((height, width), self.grid).to(self.images.device)

    def random(self, purpose: str, *shape: int) -> Float[Tensor, "batch ..."]:
        """Numbers from 0 to 1 that depend on the seed, the purpose and each image's pixels alone."""
        if "names" not in self.memo:
            self.memo["names"] = content_names(self.images)
        drawn = [
            torch.rand(shape, generator=torch_generator(self.seed, "evaluate", purpose, name))
            for name in self.memo["names"]
        ]
        return torch.stack(drawn).to(self.images)


def trial_of(
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    *,
    masks: Tensor | None = None,
    boxes: Tensor | None = None,
    grid: tuple[int, int] | None = None,
    seed: int = 0,
    at_once: int = 128,
) -> Trial:
    """A trial on these images.

    Args:
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        masks: Where the object is, (batch, height, width), True or False or the share covered.
        boxes: Instead of masks: x_min, y_min, x_max, y_max in pixels of `images` for each image, NaN where unknown.
        grid: Rows and columns of the common grid of patches; the model's own, or 8 x 8 for a model without.
        seed: Of everything random.
        at_once: Edited images that the model sees in one pass.

    Raises:
        ValueError: If a target does not exist, `at_once` is not positive, or masks, boxes or grid do not fit the
            images.
    """
    unit = unit_images(images, specimen.device)
    logits = predicted(specimen, unit, at_once)
    target = checked_target(logits, target)
    if masks is not None and boxes is not None:
        raise ValueError("a trial takes masks or boxes, but got both; leave one out.")
    if masks is not None:
        truth = _checked_masks(masks, unit)
    else:
        truth = None if boxes is None else covered_by(boxes, unit)
    trial = Trial(specimen, unit, target, truth, _checked_grid(grid, specimen, unit), seed, at_once)
    trial.memo["logits"] = logits
    return trial


def covered_by(boxes: Tensor, images: Image) -> Float[Tensor, "batch height width"]:
    """Share of each pixel that the image's box (x_min, y_min, x_max, y_max) covers; NaN where a box is unknown (NaN).

    Raises:
        ValueError: If there is not one box of four numbers for each image.
    """
    if tuple(boxes.shape) != (len(images), 4):
        raise ValueError(
            f"boxes must be x_min, y_min, x_max, y_max for each of {len(images)} images, "
            f"but got shape {tuple(boxes.shape)}."
        )
    size = (images.shape[2], images.shape[3])
    return inside_boxes(boxes.to(images.device), size, size).unflatten(1, size).to(images)


@torch.no_grad()
def predicted(specimen: Specimen, images: Image, at_once: int) -> Logits:
    """The model's answers, at most `at_once` images at a time."""
    parts = in_halves(lambda some: specimen.predict(images[some]), len(images), at_once)
    return torch.cat([part for _, part in parts])


def _checked_masks(masks: Tensor, images: Image) -> Tensor:
    wanted = (len(images), *images.shape[-2:])
    if tuple(masks.shape) != wanted:
        raise ValueError(
            f"masks must be (batch, height, width) = {wanted} as the images are, but got {tuple(masks.shape)}."
        )
    return masks.to(images)


def _checked_grid(grid: tuple[int, int] | None, specimen: Specimen, images: Image) -> tuple[int, int]:
    height, width = images.shape[-2:]
    if grid is None:
        grid = patch_grid(specimen.layout, (height, width))
    if not (1 <= grid[0] <= height and 1 <= grid[1] <= width) or grid[0] * grid[1] < 2:
        raise ValueError(
            f"grid must have two patches or more and no more rows and columns than the images of {height}x{width} "
            f"pixels, but got {grid=}."
        )
    return grid
