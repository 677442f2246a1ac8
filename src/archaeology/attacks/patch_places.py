"""Where in an image patches can lie, and which places promise most."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.shapes import Image
from archaeology.specimens.layout import TokenLayout

SHARE = 4  # squares are this many times smaller than the image, for a model that has no grid of its own


@dataclass(frozen=True)
class Cells:
    """Squares (or the rectangles of a grid) of one size at regular places.

    Attributes:
        height: In pixels.
        width: In pixels.
        down: Pixels from one place to the next below it.
        across: Pixels from one place to the next on its right.
    """

    height: int
    width: int
    down: int
    across: int


def windows(images: Image, side: int | None, layout: TokenLayout | None) -> Cells:
    """Squares of this side anywhere, or without one the patches of the model's grid.

    Without either, squares of a quarter of the image's shorter side.

    Raises:
        ValueError: If the side is no whole number of pixels within the image, or the grid does not divide the image.
    """
    height, width = images.shape[2:]
    if side is None and layout is None:
        side = max(min(height, width) // SHARE, 1)
    if side is not None:
        if not 1 <= side <= min(height, width):
            raise ValueError(
                f"side must be a number of pixels from 1 to {min(height, width)}, as images are {height} x {width}, "
                f"but got {side=}."
            )
        return Cells(side, side, 1, 1)
    assert layout is not None
    rows, columns = layout.rows, layout.columns
    if height % rows or width % columns:
        raise ValueError(
            f"without side, patches are those of the model's grid of {rows} x {columns}, which must divide images of "
            f"{height} x {width}; give side, in pixels, or resize the images."
        )
    cell = height // rows, width // columns
    return Cells(*cell, *cell)


def window_energy(gradient: Image, cells: Cells) -> Float[Tensor, "batch row column"]:
    """Mean square of the gradient within each place where a patch can lie."""
    energy = gradient.square().sum(dim=1, keepdim=True)
    return F.avg_pool2d(energy, (cells.height, cells.width), (cells.down, cells.across))[:, 0]


def ranked(
    worth: Float[Tensor, "batch row column"], cells: Cells, patches: int, tries: int
) -> Int[Tensor, "batch try patch corner"]:
    """Top left corners in pixels of the places worth most, none overlapping another, best first.

    The corners of a try are -1 where an image has no room for it.

    Raises:
        ValueError: If an image has no room for the first.
    """
    left = worth.clone()
    rows, columns = worth.shape[1:]
    row = torch.arange(rows, device=worth.device)[None, :, None]
    column = torch.arange(columns, device=worth.device)[None, None, :]
    corners: list[Tensor] = []
    for number in range(patches * tries):
        best = left.flatten(1).argmax(dim=1)
        has_room = ~left.flatten(1).amax(dim=1).isinf()
        if number < patches and not has_room.all():
            raise ValueError(
                f"there must be room for {patches=} that do not overlap, but after {number} of {cells.height} x "
                f"{cells.width} pixels there was none; ask for fewer or smaller ones."
            )
        top, side = best // columns, best % columns
        corner = torch.stack([top * cells.down, side * cells.across], dim=1)
        corners.append(torch.where(has_room[:, None], corner, -1))
        near = ((row - top[:, None, None]).abs() * cells.down < cells.height) & (
            (column - side[:, None, None]).abs() * cells.across < cells.width
        )
        left = left.masked_fill(near, -torch.inf)
    return torch.stack(corners, 1).unflatten(1, (tries, patches))


def masks(
    corners: Int[Tensor, "batch patch corner"], cells: Cells, images: Image
) -> Bool[Tensor, "batch 1 height width"]:
    """True inside the patches of each image."""
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device) - corners[:, :, :1]
    column = torch.arange(width, device=images.device) - corners[:, :, 1:]
    rows, columns = (row >= 0) & (row < cells.height), (column >= 0) & (column < cells.width)
    return (rows[:, :, :, None] & columns[:, :, None, :]).any(dim=1)[:, None]
