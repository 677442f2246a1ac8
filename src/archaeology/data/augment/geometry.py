"""Shears, shifts and turns: where each pixel is read from, counted in whole 65536ths of a pixel.

Whole numbers leave nothing to rounding, so a CPU and a GPU read the same pixels. The rule is Pillow's for
`Image.transform` and `Image.rotate` with the nearest pixel, black outside, which is what the authors of
`cubuk2020randaugment` and `muller2021trivialaugment` used. Differs: all images of a batch in one gather, each with
a map of its own.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.shapes import PixelImage

ONE = 65536  # a pixel, in the unit in which places are counted

Size = tuple[int, int]
"""Height and width of the images."""

Map = Float[Tensor, "batch 2 3"]
"""Rows give the column and the row that are read, from (column, row, 1) of the pixel written; in pixels, corners."""


def shear_x(slope: Float[Tensor, " batch"], _: Size) -> Map:
    """Each row is read from `slope` pixels further right than the row above; the upper left corner stays."""
    return _map({(0, 1): slope}, slope)


def shear_y(slope: Float[Tensor, " batch"], _: Size) -> Map:
    """Each column is read from `slope` pixels further down than the column to its left."""
    return _map({(1, 0): slope}, slope)


def translate_x(pixels: Float[Tensor, " batch"], _: Size) -> Map:
    """The image moves to the right by the whole part of `pixels`."""
    return _map({(0, 2): -pixels.trunc()}, pixels)


def translate_y(pixels: Float[Tensor, " batch"], _: Size) -> Map:
    """The image moves down by the whole part of `pixels`."""
    return _map({(1, 2): -pixels.trunc()}, pixels)


def rotate(degrees: Float[Tensor, " batch"], size: Size) -> Map:
    """The image turns about its centre, against the clock."""
    turn = -degrees.deg2rad()
    # Rounded as Pillow does, so that a quarter turn has a cosine of zero.
    cosine, sine = turn.cos().round(decimals=15), turn.sin().round(decimals=15)
    y, x = size[0] / 2, size[1] / 2
    entries = {
        (0, 0): cosine,
        (0, 1): sine,
        (0, 2): cosine * -x + sine * -y + x,
        (1, 0): -sine,
        (1, 1): cosine,
        (1, 2): -sine * -x + cosine * -y + y,
    }
    return _map(entries, turn)


def moved(images: PixelImage, maps: Map) -> PixelImage:
    """Each image read through its own map; what would be read from outside is black.

    Args:
        images: Less than 8192 pixels high and wide.
        maps: On any device; only whole numbers travel to that of the images.

    Raises:
        ValueError: If the images are so large that places would overflow.
    """
    batch, channel, height, width = images.shape
    if max(height, width) >= 8192:
        raise ValueError(
            f"images must be less than 8192 pixels high and wide, but got {height}x{width}; resize them."
        )
    steps = _fixed(maps[:, :, :2])
    start = _fixed(maps[:, :, 2] + maps[:, :, 0] * 0.5 + maps[:, :, 1] * 0.5)
    steps, start = steps.to(images.device), start.to(images.device)
    down = torch.arange(height, dtype=torch.int32, device=images.device)[:, None]
    right = torch.arange(width, dtype=torch.int32, device=images.device)
    column, row = (
        (start[:, i, None, None] + steps[:, i, 1, None, None] * down + steps[:, i, 0, None, None] * right)
        >> 16
        for i in (0, 1)
    )
    is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    places = (row * width + column).mul_(is_inside).reshape(batch, 1, height * width).long()
    read = images.reshape(batch, channel, height * width).gather(2, places.expand(-1, channel, -1))
    return read.reshape(images.shape).mul_(is_inside[:, None])


def _map(entries: dict[tuple[int, int], Tensor], like: Float[Tensor, " batch"]) -> Map:
    maps = torch.eye(2, 3, dtype=like.dtype, device=like.device).repeat(len(like), 1, 1)
    for (i, j), values in entries.items():
        maps[:, i, j] = values
    return maps


def _fixed(pixels: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The nearest whole number of 65536ths, halves upwards."""
    return (pixels * ONE + 0.5).floor().int()
