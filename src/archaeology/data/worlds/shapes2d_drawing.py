"""Drawing the shapes of `shapes2d`: each in a small window of its own, for no two share a pixel.

A pixel is as much covered as the edge, taken to be straight inside it, leaves of its area; a hollow shape is itself
without a smaller one. All operations are ones that IEEE 754 rounds in one way, so CPU and GPU draw the same bits.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.data.worlds.shapes2d_layout import CIRCLES, Scenes2D

STROKE = 3  # width of a hollow shape's line, in pixels
AT_ONCE = 32  # scenes: few enough for a cache

Colours = Float[Tensor, "batch shape 3"]
Offsets = Float[Tensor, "window 2 step"]  # distance of pixels from the middle, in x and in y
Share = Float[Tensor, "window step step"]


@dataclass(frozen=True)
class Pictures:
    """Scenes as images.

    Attributes:
        images: One for each set of colours.
        owner: Number of the shape that covers some of the pixel; -1 for none.
        inside: True where the owner covers all of the pixel.
    """

    images: list[UInt8[Tensor, "batch 3 height width"]]
    owner: Int[Tensor, "batch height width"]
    inside: Bool[Tensor, "batch height width"]


@dataclass(frozen=True)
class Windows:
    """Squares of pixels around some shapes of some scenes.

    Attributes:
        scene: Which scene the shape is in.
        shape: Which of its shapes it is.
        share: How much of each pixel the shape covers, 0 to 1.
        place: Number of the pixel in its image, row by row; 0 where nothing is covered, as the upper left corner of
            an image never is: so a window writes nothing over its neighbours.
    """

    scene: Int[Tensor, " window"]
    shape: Int[Tensor, " window"]
    share: Share
    place: Int[Tensor, "window step step"]


def draw(
    scenes: Scenes2D, colours: list[Colours], background: tuple[int, int, int], size: int, largest: float
) -> Pictures:
    """Scenes with their shapes in these colours.

    Args:
        scenes: Shapes at least a pixel apart and a pixel from the sides.
        colours: Of the shapes, 0 to 255; an image is drawn for each set.
        background: 0 to 255.
        size: Side of the images in pixels.
        largest: Largest half width of a shape.
    """
    batch, device = len(scenes), scenes.kind.device
    paper = torch.tensor(background, dtype=torch.uint8, device=device)[:, None, None]
    pictures = Pictures(
        [paper.expand(batch, 3, size, size).contiguous() for _ in colours],
        torch.full((batch, size, size), -1, dtype=torch.int16, device=device),
        torch.zeros(batch, size, size, dtype=torch.bool, device=device),
    )
    step = AT_ONCE if device.type == "cpu" else batch
    for start in range(0, batch, step):
        now = slice(start, start + step)
        part = Pictures([image[now] for image in pictures.images], pictures.owner[now], pictures.inside[now])
        for round_shapes in (True, False):
            windows = _windows(scenes.part(start, start + step), round_shapes, size, largest)
            _fill(part, windows, [colour[now] for colour in colours], background)
    return pictures


def _windows(scenes: Scenes2D, round_shapes: bool, size: int, largest: float) -> Windows:
    """The windows of all circles, or of all rectangles."""
    kind = scenes.kind
    chosen = (kind >= 0) & (kind < CIRCLES if round_shapes else kind >= CIRCLES)
    scene, shape = chosen.nonzero(as_tuple=True)
    centre, half, hollow = scenes.centre[scene, shape], scenes.half[scene, shape], kind[scene, shape] % 2 == 1
    first = (centre - half).floor()  # the pixel that holds the left or upper end
    steps = torch.arange(int(2 * largest) + 2, device=kind.device)
    offsets = ((first - centre)[:, :, None] + (steps + 0.5)).abs()
    covered = _disc if round_shapes else _box
    share = covered(offsets, half)
    share[hollow] -= covered(offsets[hollow], half[hollow] - STROKE)
    left, top = first.long().unbind(1)
    place = (top * size + left)[:, None, None] + (steps[:, None] * size + steps)
    return Windows(scene, shape, share, place.mul_(share > 0))


def _disc(offsets: Offsets, half: Float[Tensor, "window 2"]) -> Share:
    """Share of pixels within a radius of the middle: what a straight edge at that distance cuts off a unit square."""
    right, down = offsets[:, 0, None, :], offsets[:, 1, :, None]
    distance = (right * right + down * down).sqrt_().clamp_(min=1e-3)
    # The edge's normal, its longer component first; the shorter one is never quite 0, to be divided by.
    along = torch.maximum(right, down).div_(distance)
    across = torch.minimum(right, down).div_(distance).clamp_(min=1e-3)
    depth = half[:, 0, None, None] - distance
    reach = (
        ((along + across).mul_(0.5)).sub_(depth.abs()).clamp_(min=0)
    )  # of the part cut off, along the normal
    beyond = (reach - across).clamp_(min=0)
    cut = (reach * reach).sub_(beyond.mul_(beyond)).div_(along.mul_(across).mul_(2))
    return (0.5 - cut).copysign_(depth).add_(0.5)  # `cut` outside, 1 - `cut` inside; torch.where is slow here


def _box(offsets: Offsets, half: Float[Tensor, "window 2"]) -> Share:
    """Share of pixels inside a rectangle: exact."""
    sides = (half[..., None] + 0.5 - offsets).clamp_(0, 1)
    return sides[:, 1, :, None] * sides[:, 0, None, :]


def _fill(
    pictures: Pictures, windows: Windows, colours: list[Colours], background: tuple[int, int, int]
) -> None:
    """Write the windows into the pictures."""
    share, scene = windows.share, windows.scene[:, None, None]
    pixels = pictures.owner[0].numel()
    place = (windows.place + scene * pixels).flatten()
    number = windows.shape[:, None, None].to(torch.int16)
    owner = (number + 1) * (share > 0) - 1
    pictures.owner.view(-1).scatter_(0, place, owner.flatten())
    pictures.inside.view(-1).scatter_(0, place, (share == 1).flatten())
    place = place + (2 * pixels * scene).expand_as(share).flatten()
    for image, colour in zip(pictures.images, colours, strict=True):
        ink = colour[windows.scene, windows.shape]
        for channel, ground in enumerate(background):
            values = (share * (ink[:, channel, None, None] - ground)).add_(ground + 0.5).to(torch.uint8)
            image.view(-1)[channel * pixels :].scatter_(0, place, values.flatten())
