"""Where the shapes of `shapes2d` lie, and in which colours: drawn for a whole block of scenes at once.

Shapes are placed one after the other, the largest first, each at the first of some random places where it keeps its
distance. A scene in which one finds no place is laid out again on a grid of cells that hold any shape, so there
is always an end.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.seeding import torch_generator
from archaeology.data.worlds.rows import Rows
from archaeology.data.worlds.shapes2d_rule import FILLED_CIRCLE, KINDS
from archaeology.data.worlds.world import BLOCK

GAP = 2  # pixels between two bounding boxes; half of it to the sides of the canvas
TRIES = 16  # places tried for each shape
BRIGHT = 128  # the least that a colour's largest channel may be
CIRCLES = 2  # the first so many kinds are circles: as high as wide


@dataclass(frozen=True)
class Scenes2D(Rows):
    """All that decides how some scenes look; the shapes of a scene come first, then places without one (kind -1).

    Attributes:
        kind: Index into `KINDS`, or -1.
        centre: x, then y, in pixels from the upper left corner; 0 where there is no shape.
        half: Half width, half height, in pixels; a circle's radius twice; 0 where there is no shape.
        colour: 0 to 255; 0 where there is no shape.
    """

    kind: Int[Tensor, "batch shape"]
    centre: Float[Tensor, "batch shape 2"]
    half: Float[Tensor, "batch shape 2"]
    colour: Float[Tensor, "batch shape 3"]


def num_cells(size: int, largest: float) -> int:
    """How many cells of the grid a row of the canvas has, which is what surely fits."""
    return int(size // (2 * largest + GAP))


def lay_out(
    seed: int, block: int, size: int, num_shapes: tuple[int, int], radii: tuple[float, float]
) -> Scenes2D:
    """The numbers of the `BLOCK` scenes of one block."""
    generator = torch_generator(seed, "shapes2d", block)
    low, high = num_shapes
    count = torch.randint(low, high + 1, (BLOCK, 1), generator=generator)
    there = torch.arange(high) < count
    kind = torch.randint(len(KINDS), (BLOCK, high), generator=generator)
    half = radii[0] + (radii[1] - radii[0]) * torch.rand(BLOCK, high, 2, generator=generator)
    half[..., 1] = torch.where(kind < CIRCLES, half[..., 0], half[..., 1])
    colour = _colours(kind, generator)
    centre = _places(half, there, size, radii[1], generator)
    shown = there[..., None]
    return Scenes2D(
        kind.where(there, -1), centre.where(shown, 0), half.where(shown, 0), colour.where(shown, 0)
    )


def _colours(kind: Int[Tensor, "batch shape"], generator: torch.Generator) -> Float[Tensor, "batch shape 3"]:
    """Bright colours; every second filled circle is red-dominant, the others are not."""
    shape = kind.shape
    highest = torch.randint(BRIGHT, 256, shape, generator=generator)
    share = torch.rand(*shape, 3, generator=generator)
    red = torch.randint(2, shape, generator=generator) == 1
    green_or_blue = torch.randint(1, 3, shape, generator=generator)
    any_channel = torch.randint(3, shape, generator=generator)
    channel = torch.where(kind == FILLED_CIRCLE, green_or_blue.where(~red, 0), any_channel)
    below = (share * highest[..., None]).floor()  # below the highest: the share is below 1
    return torch.where(torch.arange(3) == channel[..., None], highest[..., None].float(), below)


def _places(
    half: Float[Tensor, "batch shape 2"],
    there: Bool[Tensor, "batch shape"],
    size: int,
    largest: float,
    generator: torch.Generator,
) -> Float[Tensor, "batch shape 2"]:
    """Centres such that no two bounding boxes are less than `GAP` apart."""
    room = half + GAP / 2
    tried = torch.rand(*half.shape[:2], TRIES, 2, generator=generator)
    cells = torch.rand(len(half), num_cells(size, largest) ** 2, generator=generator).argsort(
        dim=1, stable=True
    )
    centre, placed = _tried_places(room, there, size, tried)
    return torch.where(
        placed[:, None, None], centre, _grid_places(room, size, largest, cells, tried[:, :, 0])
    )


def _tried_places(
    room: Float[Tensor, "batch shape 2"],
    there: Bool[Tensor, "batch shape"],
    size: int,
    tried: Float[Tensor, "batch shape place 2"],
) -> tuple[Float[Tensor, "batch shape 2"], Bool[Tensor, " batch"]]:
    """Each shape at the first of its places that is free; and whether all of a scene's shapes found one."""
    area = room.prod(-1).where(there, 0)
    order = area.argsort(dim=1, descending=True, stable=True)
    scenes = torch.arange(len(room))
    # Where there is no shape, none is in the way.
    room = torch.where(there[..., None], room, -float(size))
    centre = torch.zeros_like(room)
    placed = torch.ones(len(room), dtype=torch.bool)
    for number in range(room.shape[1]):
        now, before = order[:, number], order[:, :number]
        mine = room[scenes, now]
        places = mine[:, None] + (size - 2 * mine[:, None]) * tried[scenes, now]
        others, theirs = (value[scenes[:, None], before] for value in (centre, room))
        apart = (places[:, :, None] - others[:, None]).abs() >= (mine[:, None] + theirs)[:, None]
        free = apart.any(-1).all(-1)
        centre[scenes, now] = places[scenes, free.byte().argmax(1)]
        placed &= free.any(1) | ~there[scenes, now]
    return centre, placed


def _grid_places(
    room: Float[Tensor, "batch shape 2"],
    size: int,
    largest: float,
    cells: Int[Tensor, "batch cell"],
    jitter: Float[Tensor, "batch shape 2"],
) -> Float[Tensor, "batch shape 2"]:
    """Each shape somewhere in a cell of its own."""
    side = num_cells(size, largest)
    cell = cells[:, : room.shape[1]]
    corner = torch.stack([cell % side, cell // side], dim=-1) * (size / side)
    return corner + room + (size / side - 2 * room) * jitter
