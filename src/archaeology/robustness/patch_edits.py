"""Images with a part of them gone or out of place: patches lost, pieces shuffled, a rectangle laid over them.

Pure functions of images and of what was drawn for each of them. Sources: `naseer2021intriguing` (patches lost and
shuffled), `zeiler2014visualizing` (occlusion). Differs: a place is any cell of any grid, also where its borders fall
between pixels, so that models with and without patches are asked the same.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image
from archaeology.specimens.layout import cell_along, cell_of_pixel

Colour = Float[Tensor, "batch channel 1 1"]
Mask = Bool[Tensor, "batch height width"]


def _black(images: Image) -> Colour:
    return torch.zeros_like(images[:, :, :1, :1])


def _mean_colour(images: Image) -> Colour:
    return images.mean(dim=(2, 3), keepdim=True)


FILLS: dict[str, Callable[[Image], Colour]] = {"black": _black, "mean": _mean_colour}


def check_fill(fill: str) -> None:
    """Refuse a fill that there is not.

    Raises:
        UnknownNameError: If it is none of `FILLS`.
    """
    if fill not in FILLS:
        raise unknown_name("fill", fill, list(FILLS))


def filled(images: Image, lost: Mask, fill: str) -> Image:
    """The images with every lost pixel black, or of its image's mean colour.

    Args:
        images: In [0, 1].
        lost: True where a pixel is gone.
        fill: "black" or "mean".

    Raises:
        UnknownNameError: If there is no such fill.
    """
    check_fill(fill)
    return torch.where(lost[:, None], FILLS[fill](images), images)


def lost_patches(
    places: Int[Tensor, "batch patch"], count: int, grid: tuple[int, int], size: tuple[int, int]
) -> Mask:
    """Which pixels are gone when the first `count` patches of each image's order are.

    Args:
        places: Place of each patch in the order, 0 for the one that goes first; patches counted row by row.
        count: How many go.
        grid: Rows and columns of patches.
        size: Height and width in pixels.
    """
    cells = cell_of_pixel(size, grid).to(places.device)
    return (places < count)[:, cells]


def covered(
    corners: Int[Tensor, "batch 2"], sides: tuple[int, int], size: tuple[int, int]
) -> Bool[Tensor, "batch height width"]:
    """Which pixels a rectangle covers.

    Args:
        corners: Its top row and left column, for each image.
        sides: Its height and width in pixels.
        size: Height and width of the images.
    """

    def within(first: Int[Tensor, " batch"], length: int, pixels: int) -> Bool[Tensor, "batch pixel"]:
        away = torch.arange(pixels, device=first.device) - first[:, None]
        return (away >= 0) & (away < length)

    down, across = (within(corners[:, axis], sides[axis], size[axis]) for axis in (0, 1))
    return down[:, :, None] & across[:, None, :]


def shuffled(images: Image, sources: Int[Tensor, "batch piece"], grid: tuple[int, int]) -> Image:
    """The images cut into a grid of pieces, every piece of the result being another one of the image.

    Where pieces differ by a pixel in size, a piece is stretched to its new place by taking the nearest pixels.

    Args:
        images: Any.
        sources: Number of the piece that each place gets, both counted row by row.
        grid: Rows and columns of pieces, no more of them than pixels.
    """
    height, width = images.shape[-2:]
    cells = cell_of_pixel((height, width), grid).to(sources.device)
    piece = sources[:, cells]
    row = _source_along(piece // grid[1], height, grid[0], along_rows=True)
    column = _source_along(piece % grid[1], width, grid[1], along_rows=False)
    flat = (row * width + column).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, flat).unflatten(2, (height, width))


def _source_along(
    piece: Int[Tensor, "batch height width"], pixels: int, cells: int, *, along_rows: bool
) -> Int[Tensor, "batch height width"]:
    """The row (or column) of the pixel that comes to each place: as far into its piece as the place is into its own."""
    cell = cell_along(pixels, cells).to(piece.device)
    length = cell.bincount(minlength=cells)
    start = length.cumsum(0) - length
    inside = torch.arange(pixels, device=piece.device) - start[cell]
    shape = (1, -1, 1) if along_rows else (1, 1, -1)
    inside, own = inside.view(shape), length[cell].view(shape)
    return start[piece] + (2 * inside + 1) * length[piece] // (2 * own)
