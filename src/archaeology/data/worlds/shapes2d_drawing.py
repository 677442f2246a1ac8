"""Drawing the shapes of `shapes2d`: each in a small window of its own, for no two share a pixel.

A pixel is as much covered as the edge, taken to be straight inside it, leaves of its area; a hollow shape is itself
without a smaller one. All operations are ones that IEEE 754 rounds in one way, so CPU and GPU draw the same bits.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Integer, UInt8
from torch import Tensor

from archaeology.data.worlds.shapes2d_layout import CIRCLES, Scenes2D
from archaeology.data.worlds.shapes2d_rule import KINDS

STROKE = 3  # width of a hollow shape's line, in pixels
AT_ONCE = 32  # scenes: few enough for a cache
PACK = 4  # pixels side by side that are written together, as one whole number
FAR = 1e4  # pixels: from where a shape covers nothing
PACKED = {1: torch.int32, 2: torch.int64}  # what holds so many pixels of 1 or 2 bytes

Colours = Float[Tensor, "batch shape 3"]
Share = Float[Tensor, "window row column"]


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

    def part(self, start: int, stop: int) -> "Pictures":
        """Scenes `start` to `stop - 1`: the same memory."""
        now = slice(start, stop)
        return Pictures([image[now] for image in self.images], self.owner[now], self.inside[now])

    def cropped(self, width: int) -> "Pictures":
        """The first columns."""
        images = [image[..., :width].contiguous() for image in self.images]
        return Pictures(images, self.owner[..., :width].contiguous(), self.inside[..., :width].contiguous())


@dataclass(frozen=True)
class Windows:
    """Rectangles of pixels around some shapes of some scenes; their rows are made of whole packs.

    Attributes:
        scene: Which scene the shape is in.
        shape: Which of its shapes it is.
        share: How much of each pixel the shape covers, 0 to 1.
        place: Number of the pack in its image, row by row.
    """

    scene: Int[Tensor, " window"]
    shape: Int[Tensor, " window"]
    share: Share
    place: Int[Tensor, "window row pack"]


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
    width = max(_up_to_packs(size), _window_sides(largest)[1])
    pictures = Pictures(
        [torch.empty(batch, 3, size, width, dtype=torch.uint8, device=device) for _ in colours],
        torch.empty(batch, size, width, dtype=torch.int16, device=device),
        torch.empty(batch, size, width, dtype=torch.bool, device=device),
    )
    step = AT_ONCE if device.type == "cpu" else batch
    for start in range(0, batch, step):
        part = pictures.part(start, start + step)
        windows = _windows(scenes.part(start, start + step), (size, width), largest)
        _fill(part, windows, [colour[start : start + step] for colour in colours], background)
    return pictures if width == size else pictures.cropped(size)


def _up_to_packs(pixels: int) -> int:
    """The next multiple of a pack's pixels."""
    return -(-pixels // PACK) * PACK


def _window_sides(largest: float) -> tuple[int, int]:
    """Rows and columns that any shape fits into; the columns start at a pack."""
    rows = int(2 * largest) + 2
    return rows, _up_to_packs(rows + PACK - 1)


def _windows(scenes: Scenes2D, canvas: tuple[int, int], largest: float) -> Windows:
    """The windows of all shapes, kind by kind."""
    scene, shape = (scenes.kind >= 0).nonzero(as_tuple=True)
    order = scenes.kind[scene, shape].argsort()
    scene, shape = scene[order], shape[order]
    kind, centre, half = (values[scene, shape] for values in (scenes.kind, scenes.centre, scenes.half))
    rows, columns = (torch.arange(side, device=kind.device) for side in _window_sides(largest))
    left, top = (centre - half).floor().long().unbind(1)  # the pixel that holds the left or upper end
    pack = (left // PACK).clamp(max=(canvas[1] - len(columns)) // PACK)
    row = top.clamp(max=canvas[0] - len(rows))
    right = _distances(pack[:, None] * PACK + columns, left, centre[:, 0])
    down = _distances(row[:, None] + rows, top, centre[:, 1])
    packs = canvas[1] // PACK
    place = (row * packs + pack)[:, None, None] + (rows[:, None] * packs + columns[: len(columns) // PACK])
    return Windows(scene, shape, _shares(kind, right, down, half), place)


def _shares(
    kind: Int[Tensor, " window"],
    right: Float[Tensor, "window column"],
    down: Float[Tensor, "window row"],
    half: Float[Tensor, "window 2"],
) -> Share:
    """How much of each pixel the shapes cover, which come kind by kind."""
    share = right.new_empty(len(kind), down.shape[1], right.shape[1])
    stops = kind.bincount(minlength=len(KINDS)).cumsum(0).tolist()
    for number, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
        now = slice(start, stop)
        covered = _disc if number < CIRCLES else _box
        share[now] = covered(right[now], down[now], half[now])
        if number % 2:
            share[now] -= covered(right[now], down[now], half[now] - STROKE)
    return share


def _distances(
    pixels: Int[Tensor, "window step"], first: Int[Tensor, " window"], centre: Float[Tensor, " window"]
) -> Float[Tensor, "window step"]:
    """How far the middles of pixels are from a shape's middle; `FAR` before its first pixel, whatever rounding says."""
    distance = (pixels + 0.5 - centre[:, None]).abs_()
    return distance.masked_fill_(pixels < first[:, None], FAR)


def _disc(
    right: Float[Tensor, "window column"], down: Float[Tensor, "window row"], half: Float[Tensor, "window 2"]
) -> Share:
    """Share of pixels within a radius of the middle: what a straight edge at that distance cuts off a unit square."""
    right, down = right[:, None, :], down[:, :, None]
    distance = (right * right + down * down).sqrt_().clamp_(min=1e-3)
    # The edge's normal, its longer component first; the shorter one is never quite 0, to be divided by.
    along = torch.maximum(right, down).div_(distance)
    across = torch.minimum(right, down).div_(distance).clamp_(min=1e-3)
    depth = half[:, 0, None, None] - distance
    # How much of the pixel's diagonal, along the normal, is cut off.
    reach = (along + across).mul_(0.5).sub_(depth.abs()).clamp_(min=0)
    beyond = (reach - across).clamp_(min=0)
    cut = (reach * reach).sub_(beyond.mul_(beyond)).div_(along.mul_(across).mul_(2))
    return (0.5 - cut).copysign_(depth).add_(0.5)  # `cut` outside, 1 - `cut` inside; torch.where is slow here


def _box(
    right: Float[Tensor, "window column"], down: Float[Tensor, "window row"], half: Float[Tensor, "window 2"]
) -> Share:
    """Share of pixels inside a rectangle: exact."""
    width, height = ((half[:, i, None] + 0.5 - offset).clamp_(0, 1) for i, offset in enumerate((right, down)))
    return height[:, :, None] * width[:, None, :]


def _fill(
    pictures: Pictures, windows: Windows, colours: list[Colours], background: tuple[int, int, int]
) -> None:
    """Draw the windows on bare ground, plane by plane: each is cleared just before, and so in the cache."""
    share, scene = windows.share, windows.scene[:, None, None]
    pixels = pictures.owner[0].numel()
    place = (windows.place + scene * (pixels // PACK)).flatten()
    number = windows.shape[:, None, None].to(torch.int16)
    pictures.owner.fill_(-1)
    _paste((number + 1) * (share > 0) - 1, pictures.owner.view(-1), place, -1)
    pictures.inside.fill_(False)
    _paste((share == 1).view(torch.uint8), pictures.inside.view(-1).view(torch.uint8), place, 0)
    place = (windows.place + scene * (3 * pixels // PACK)).flatten()
    values = torch.empty_like(share)
    for image, colour in zip(pictures.images, colours, strict=True):
        ink = colour[windows.scene, windows.shape]
        for channel, ground in enumerate(background):
            torch.mul(share, ink[:, channel, None, None] - ground, out=values).add_(ground + 0.5)
            image[:, channel] = ground
            _paste(values.to(torch.uint8), image.view(-1)[channel * pixels :], place, ground)


def _paste(
    values: Integer[Tensor, "window row column"],
    canvas: Integer[Tensor, " pixel"],
    place: Int[Tensor, " pack"],
    ground: int,
) -> None:
    """Write windows onto a clear canvas, a pack of pixels at a time.

    A pack may hold pixels of two shapes. So what is written is added: a pack, read as one whole number, less one of
    the bare ground. Carries from pixel to pixel cancel, and the order of the shapes does not matter.
    """
    packed = PACKED[values.element_size()]
    packs = values.view(packed).flatten()
    if ground:
        packs = packs - torch.full((PACK,), ground, dtype=values.dtype, device=values.device).view(packed)
    canvas.view(packed).scatter_add_(0, place, packs)
