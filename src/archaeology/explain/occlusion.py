"""Occlusion: cover a part of the image, and see how far the class falls.

Source: `zeiler2014visualizing`. A window slides over the image; what a place counts is the fall of the target's logit,
averaged over all windows that cover the place. It asks nothing of the model but answers, so it needs no gradient. It
misses what is shown twice: while one copy is covered, the other still speaks. Differs: windows are made of whole
patches, so that no window cuts a token in two, and the map is on the grid of patches.
"""

from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.halving import in_halves
from archaeology.core.shapes import Heatmap, Image, Label, PixelImage
from archaeology.explain.asking import Question, question, rows_of
from archaeology.explain.baselines import baseline_image
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_model
from archaeology.specimens.layout import cell_along, patch_grid
from archaeology.specimens.specimen import Specimen

MOST_WINDOWS = 16  # along a side, unless asked


@dataclass(frozen=True)
class Windows:
    """How a window slides over a grid of patches along one axis.

    Attributes:
        patches: Of the grid.
        pixels: Of the image.
        window: Patches that it covers; at the far edge perhaps fewer.
        stride: Patches from one window to the next.
    """

    patches: int
    pixels: int
    window: int
    stride: int

    def __len__(self) -> int:
        return ceil((self.patches - self.window) / self.stride) + 1

    def covers_patches(self) -> Bool[Tensor, "window patch"]:
        """Which patches each window covers."""
        first = torch.arange(len(self))[:, None] * self.stride
        patch = torch.arange(self.patches)
        return (patch >= first) & (patch < first + self.window)

    def covers_pixels(self) -> Bool[Tensor, "window pixel"]:
        """Which pixels each window covers: those whose centre lies in one of its patches."""
        return self.covers_patches()[:, cell_along(self.pixels, self.patches)]


@of_model("occlusion", title="Occlusion")
def occlusion(
    specimen: Specimen,
    images: Image | PixelImage,
    target: Label | None = None,
    *,
    window: int | None = None,
    stride: int | None = None,
    fill: str = "grey",
    at_once: int = 64,
) -> Explanation:
    """How far the target's logit falls when a place is covered; below zero where covering it helps the class.

    Args:
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        window: Side of the window in patches of the model (without a token layout, in eighths of the image); None for
            one patch, or more where that would make more than 16 windows along a side.
        stride: Patches from one window to the next; None for as many as the window has.
        fill: What covers: "black", "grey" (the specimen's mean colour) or "blurred" (the image itself, blurred).
        at_once: Covered images per forward pass; fewer where memory runs out.

    Returns:
        On the grid of patches. NaN for an image without a finite answer.

    Raises:
        ValueError: If the window does not fit into the image, the stride leaves gaps, `at_once` is less than 1, or
            there is no such class.
        UnknownNameError: If there is no such fill.

    References:
        `zeiler2014visualizing`. Differs: see the module.
    """
    rows, columns = patch_grid(specimen.layout, (images.shape[2], images.shape[3]))
    window = min(rows, columns, ceil(max(rows, columns) / MOST_WINDOWS)) if window is None else window
    stride = window if stride is None else stride
    if not 1 <= window <= min(rows, columns):
        raise ValueError(
            f"window must be from 1 to {min(rows, columns)}, because the image has {rows} x {columns} patches, but got "
            f"{window=}; a window of one patch shows most detail."
        )
    if not 1 <= stride <= window:
        raise ValueError(
            f"stride must be from 1 to the window, or places stay uncovered, but got {stride=}, {window=}."
        )
    asked = question(specimen, images, target, at_once=at_once)
    down = Windows(rows, images.shape[2], window, stride)
    right = Windows(columns, images.shape[3], window, stride)
    fills = baseline_image(fill, asked.images, specimen)
    attribution = asked.answered(spread(falls(asked, fills, down, right, at_once), down, right))
    return Explanation(
        heatmap=attribution.clamp(min=0),
        method="occlusion",
        parameters={"window": window, "stride": stride, "fill": fill, "at_once": at_once},
        formula=f"logit[class] of the image - logit[class] with {window} x {window} patches covered ({fill}), mean "
        "over the windows that cover a place; the map is its positive part",
        target=asked.target,
        attribution=attribution,
        facts={"logit": asked.logit},
    )


def falls(
    asked: Question, fills: Image, down: Windows, right: Windows, at_once: int
) -> Float[Tensor, "batch down right"]:
    """How far the logit falls under each window."""
    tall = down.covers_pixels().to(fills.device)
    wide = right.covers_pixels().to(fills.device)
    each = len(down) * len(right)

    def covered(some: slice) -> Tensor:
        image, place = rows_of(some, each, fills.device)
        hidden = tall[place // len(right), :, None] & wide[place % len(right), None, :]
        pictures = torch.where(hidden[:, None], fills[image], asked.images[image])
        return asked.logits_of(pictures, asked.target[image])

    left = torch.cat([part for _, part in in_halves(covered, each * len(fills), at_once)])
    return asked.logit[:, None, None] - left.view(len(fills), len(down), len(right))


def spread(drops: Float[Tensor, "batch down right"], down: Windows, right: Windows) -> Heatmap:
    """For each patch the mean over the windows that cover it."""
    tall, wide = (windows.covers_patches().to(drops) for windows in (down, right))
    total = tall.T @ drops @ wide
    return total / (tall.sum(dim=0)[:, None] * wide.sum(dim=0))
