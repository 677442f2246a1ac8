"""Drawing the shapes of `shapes2d`: each in a small window of its own, for no two share a pixel.

Signed distances become soft edges as in `drawing.py`; a hollow shape is itself without a smaller one. All operations
are ones that IEEE 754 rounds in one way, so CPU and GPU draw the same bits.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.data.worlds.drawing import covered
from archaeology.data.worlds.shapes2d_layout import CIRCLES, Scenes2D

STROKE = 3  # width of a hollow shape's line, in pixels


@dataclass(frozen=True)
class Covered:
    """The pixels that shapes cover, one after the other, whichever scene they are in.

    Attributes:
        place: Number of the pixel among all pixels of all scenes.
        shape: Number of the shape among all places for shapes of all scenes.
        share: How much of the pixel is covered, above 0 and up to 1.
    """

    place: Int[Tensor, " pixel"]
    shape: Int[Tensor, " pixel"]
    share: Float[Tensor, " pixel"]


def covered_pixels(scenes: Scenes2D, size: int, largest: float) -> Covered:
    """All pixels of which a shape covers some; `largest` is the largest half width of any shape."""
    shape = (scenes.kind.flatten() >= 0).nonzero()[:, 0]
    kind = scenes.kind.flatten()[shape]
    centre, half = scenes.centre.flatten(0, 1)[shape], scenes.half.flatten(0, 1)[shape]
    first = (centre - half).floor()  # the pixel that holds the left or upper end
    steps = torch.arange(int(2 * largest) + 2, device=shape.device)
    offsets = (first[:, :, None] + (steps + 0.5) - centre[:, :, None]).abs()
    hole = torch.where(kind[:, None] % 2 == 1, half - STROKE, -1.0)
    share = torch.where(
        (kind < CIRCLES)[:, None, None],
        _disc(offsets, half) - _disc(offsets, hole),
        _box(offsets, half) - _box(offsets, hole),
    )
    number, row, column = (share > 0).nonzero(as_tuple=True)
    left, top = first.long().unbind(1)
    scene = shape // scenes.kind.shape[1]
    corner = (scene * size + top) * size + left
    return Covered(corner[number] + row * size + column, shape[number], share[number, row, column])


def _disc(
    offsets: Float[Tensor, "shape 2 step"], half: Float[Tensor, "shape 2"]
) -> Float[Tensor, "shape step step"]:
    squared = offsets * offsets
    distance = (squared[:, 1, :, None] + squared[:, 0, None, :]).sqrt()
    return covered(distance - half[:, 0, None, None])


def _box(
    offsets: Float[Tensor, "shape 2 step"], half: Float[Tensor, "shape 2"]
) -> Float[Tensor, "shape step step"]:
    sides = (0.5 - (offsets - half[..., None])).clamp(0, 1)
    return sides[:, 1, :, None] * sides[:, 0, None, :]


def canvas(
    pixels: Covered,
    colour: Float[Tensor, "batch shape 3"],
    background: Float[Tensor, " 3"],
    size: int,
) -> UInt8[Tensor, "batch 3 size size"]:
    """Scenes with their shapes in these colours."""
    paper = (background + 0.5).floor().to(torch.uint8)
    images = paper[:, None, None].repeat(len(colour), 1, size, size)
    scene, place = pixels.place // size**2, pixels.place % size**2
    ink = (colour.flatten(0, 1) - background)[pixels.shape]
    values = (background + ink * pixels.share[:, None] + 0.5).floor().to(torch.uint8)
    images.flatten(2)[scene, :, place] = values
    return images


def owners(
    pixels: Covered, batch: int, num_shapes: int, size: int
) -> tuple[Int[Tensor, "batch size size"], Bool[Tensor, "batch size size"]]:
    """Which of its scene's shapes has some of each pixel, -1 for none; and which pixels are covered wholly."""
    owner = torch.full((batch, size, size), -1, dtype=torch.int16, device=pixels.place.device)
    owner.view(-1)[pixels.place] = (pixels.shape % num_shapes).to(torch.int16)
    inside = torch.zeros(batch, size, size, dtype=torch.bool, device=pixels.place.device)
    inside.view(-1)[pixels.place] = pixels.share == 1
    return owner, inside
