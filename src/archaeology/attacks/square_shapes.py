"""Squares at a place of their own in each image, and the bump that the Square Attack fills them with in "l2"."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.shapes import Image

Corner = Int[Tensor, " batch"]


def window(images: Image, top: Corner, left: Corner, side: int) -> Bool[Tensor, "batch 1 height width"]:
    """True in one square of each image."""
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device)[None] - top[:, None]
    column = torch.arange(width, device=images.device)[None] - left[:, None]
    rows, columns = (row >= 0) & (row < side), (column >= 0) & (column < side)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def placed(
    shape: Float[Tensor, "side side"], corner: tuple[Corner, Corner], images: Image
) -> Float[Tensor, "batch 1 height width"]:
    """The shape with its top left corner at a place of each image, and zero elsewhere."""
    side = len(shape)
    top, left = corner
    height, width = images.shape[2:]
    row = (torch.arange(height, device=images.device)[None] - top[:, None]).clamp(0, side - 1)
    column = (torch.arange(width, device=images.device)[None] - left[:, None]).clamp(0, side - 1)
    return shape[row[:, :, None], column[:, None, :]][:, None] * window(images, top, left, side)


def bump(side: int, images: Float[Tensor, " *any"]) -> Float[Tensor, "side side"]:
    """Two hills, the upper one up and the lower one down, of length 1 together; one alone where the side is 1.

    References:
        `andriushchenko2020square`, equation 3.
    """
    upper = side // 2
    halves = [hill(upper, side), -hill(side - upper, side)] if upper else [hill(side, side)]
    shape = torch.cat(halves)
    return (shape / shape.norm()).to(images)


def hill(height: int, width: int) -> Float[Tensor, "height width"]:
    """Falls from the middle outwards in square terraces, 1 / k^2 from the k-th to the next; of length 1."""
    outermost = max(height // 2, width // 2) + 1
    steps = 1 / torch.arange(1, outermost + 1, dtype=torch.float64) ** 2
    at_distance = steps.flip(0).cumsum(0).flip(0)  # of terrace d: all steps from d outwards
    row = (torch.arange(height) - height // 2).abs()
    column = (torch.arange(width) - width // 2).abs()
    shape = at_distance[torch.maximum(row[:, None], column[None])]
    return shape / shape.norm()
