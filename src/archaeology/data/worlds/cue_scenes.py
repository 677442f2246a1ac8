"""The scenes of `cue_conflict`: first the numbers that describe each, drawn on the CPU, then its pixels.

Pixels come from those numbers by exactly rounded operations alone (see `drawing.py`; the clouds are products
of small integers, exact in any order), so a scene has the same bits on every device and in every batch.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.core.seeding import torch_generator
from archaeology.data.worlds.drawing import EXTENT, SHAPES, TEXTURES, Plane, covered
from archaeology.data.worlds.rows import Rows
from archaeology.data.worlds.world import BLOCK

BLOTCHES = "blotches"  # the one texture that is a cloud and not a formula
SHAPE_NAMES = tuple(SHAPES)
TEXTURE_NAMES = (*TEXTURES, BLOTCHES)
KNOTS = {"sky": 4, "haze": 14, "islands": 7, BLOTCHES: 20}  # per side of each cloud
CHANNELS = {"sky": 3, "haze": 1, "islands": 2, BLOTCHES: 1}
CENTRED = ("rings", "rays", "gradient")  # these stay near the middle of the object; the others begin anywhere
LINES = 3  # in each of the two layers of clutter
STEPS = 4096  # random shares are multiples of 1 / STEPS


@dataclass(frozen=True)
class Scenes(Rows):
    """All that decides how some scenes look; lengths are shares of the image's side, colours 0 to 255."""

    shape: Int[Tensor, " batch"]
    texture: Int[Tensor, " batch"]
    radius: Float[Tensor, " batch"]
    centre: Float[Tensor, "batch xy"]
    turn: Float[Tensor, "batch axis xy"]  # cosine and sine of the object's, then of the texture's rotation
    rotation: Float[Tensor, " batch"]
    period: Float[Tensor, " batch"]
    phase: Float[Tensor, "batch xy"]
    colours: Float[Tensor, "batch colour channel"]  # background, two of the object, two of the clutter
    lines: Float[Tensor, "batch layer line number"]  # middle x, y, cosine, sine, half length, half width
    sky: Float[Tensor, "batch channel sky sky"]
    haze: Float[Tensor, "batch 1 haze haze"]
    islands: Float[Tensor, "batch layer islands islands"]
    blotches: Float[Tensor, "batch 1 blotches blotches"]


def draw_scenes(seed: int, split: str, block: int) -> Scenes:
    """The numbers of the `BLOCK` scenes of one block; every pair of shape and texture comes equally often."""
    generator = torch_generator(seed, "cue_conflict", block)

    def share(*shape: int) -> Tensor:
        return torch.randint(STEPS, (BLOCK, *shape), generator=generator).double() / STEPS

    pair = torch.randperm(BLOCK, generator=generator) % (len(SHAPE_NAMES) * len(TEXTURE_NAMES))
    shape, any_texture = pair // len(TEXTURE_NAMES), pair % len(TEXTURE_NAMES)
    other_shape = torch.randint(1, len(SHAPE_NAMES), (BLOCK,), generator=generator)
    texture = {
        "aligned": shape,
        "random": any_texture,
        "conflict": (shape + other_shape) % len(SHAPE_NAMES),
    }[split]
    radius = 0.17 + 0.07 * share()
    angles = 2 * math.pi * share(2)
    line_angle = math.pi * share(2, LINES)
    lines = (*share(2, LINES, 2).unbind(-1), line_angle.cos(), line_angle.sin())
    lines = (*lines, 0.1 + 0.3 * share(2, LINES), 0.006 + 0.012 * share(2, LINES))
    clouds = {
        name: torch.randint(-127, 128, (BLOCK, CHANNELS[name], knots, knots), generator=generator).float()
        for name, knots in KNOTS.items()
    }
    return Scenes(
        shape=shape,
        texture=texture,
        radius=radius.float(),
        # How far the middle strays depends on the radius alone, so that no shape has places of its own.
        centre=(0.5 + (share(2) - 0.5) * (0.96 - 2 * EXTENT * radius[:, None])).float(),
        turn=torch.stack([angles.cos(), angles.sin()], dim=-1).float(),
        rotation=angles[:, 0].float(),
        period=(0.1 + 0.035 * share()).float(),
        phase=share(2).float(),
        colours=_colours(generator),
        lines=torch.stack(lines, dim=-1).float(),
        **clouds,
    )


def _colours(generator: torch.Generator, tries: int = 8) -> Float[Tensor, "batch colour channel"]:
    """Random colours; of several draws the one whose background and object colours differ most."""
    drawn = torch.randint(256, (BLOCK, tries, 5, 3), generator=generator)
    drawn[:, :, 0] = (2 * drawn[:, :, 0] + 128) // 3  # a background is paler than what lies on it
    weights = torch.tensor([2, 4, 1])  # about as the eye weighs red, green and blue
    pairs = [drawn[:, :, i] - drawn[:, :, j] for i, j in ((0, 1), (0, 2), (1, 2))]
    distance = torch.stack([(weights * pair * pair).sum(-1) for pair in pairs]).amin(0)
    best = distance.argmax(dim=1)
    return drawn[torch.arange(BLOCK), best].float()


@torch.no_grad()
def render(
    scenes: Scenes, size: int
) -> tuple[UInt8[Tensor, "batch channel height width"], Bool[Tensor, "batch height width"]]:
    """The images, and where their objects are."""
    pixels = torch.arange(size, device=scenes.radius.device) + 0.5
    clouds = {name: _cloud(getattr(scenes, name), size) for name in KNOTS}
    canvas = _clutter(scenes, clouds, pixels)
    outside = _object_distance(scenes, pixels)
    paint = _object_paint(scenes, clouds[BLOTCHES][:, 0], pixels)[:, None]
    first, second = scenes.colours[:, 1, :, None, None], scenes.colours[:, 2, :, None, None]
    canvas = _over(canvas, first + (second - first) * paint, covered(outside))
    return (canvas.clamp(0, 255) + 0.5).floor().to(torch.uint8), outside <= 0


def _over(canvas: Tensor, colour: Tensor, coverage: Plane) -> Tensor:
    return canvas.add_((colour - canvas).mul_(coverage[:, None]))


def _cloud(
    knots: Float[Tensor, "batch channel knot knot"], size: int
) -> Float[Tensor, "batch channel height width"]:
    """Smooth noise between -1 and 1 through random knots: a quadratic B-spline in both directions.

    Small integers throughout (below 2^24, of at most 11 bits), so the products are exact in whatever order.
    """
    count = knots.shape[-1]
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size * (count - 2)
    first = place.floor().long()
    offset = ((place - first) * 32).round()
    weights = torch.zeros(size, count, dtype=torch.float64)
    for step, weight in enumerate(((32 - offset) ** 2, 1024 + 64 * offset - 2 * offset**2, offset**2)):
        weights[torch.arange(size), first + step] = weight
    weights = weights.float().to(knots.device)
    with torch.autocast(knots.device.type, enabled=False):
        columns = (knots @ weights.T / 128).floor()
        return weights @ columns / (2048 * 2032)


def _clutter(scenes: Scenes, clouds: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Background without an object: a clouded sky, two layers of islands, over each some straight lines."""
    size = len(pixels)
    base, *_, near, far = scenes.colours[..., None, None].unbind(1)
    canvas = base + 70 * clouds["sky"] + 55 * clouds["haze"]
    for layer, colour in enumerate((far, near)):
        colour = base + 0.7 * (colour - base)
        shore = (0.35 - clouds["islands"][:, layer]) * (size / 9)
        canvas = _over(canvas, colour + 40 * clouds["haze"], covered(shore))
        canvas = _over(canvas, colour, covered(_line_distance(scenes.lines[:, layer], pixels)))
    return canvas


def _line_distance(lines: Float[Tensor, "batch line number"], pixels: Tensor) -> Plane:
    """Distance to the nearest of some line segments."""
    size = len(pixels)
    distances = []
    for line in lines.unbind(1):
        x, y, cosine, sine, half_length, half_width = line[:, :, None, None].unbind(1)
        along, across = _turned(pixels, x * size, y * size, cosine, sine)
        distances.append(torch.maximum(across.abs() - half_width * size, along.abs() - half_length * size))
    return torch.stack(distances).amin(0)


def _turned(pixels: Tensor, x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Plane, Plane]:
    """Coordinates of all pixels in axes turned clockwise about (x, y)."""
    right, down = pixels[None, None, :] - x, pixels[None, :, None] - y
    return cosine * right + sine * down, cosine * down - sine * right


def _axes(scenes: Scenes, chosen: Tensor, axis: int, shift: Tensor, pixels: Tensor) -> tuple[Plane, Plane]:
    """Coordinates in pixels from the middle of the chosen objects, in axis 0 (object) or 1 (texture)."""
    size = len(pixels)
    middle, turn = scenes.centre[chosen] * size, scenes.turn[chosen, axis]
    x, y, cosine, sine = torch.cat([middle, turn], dim=1)[:, :, None, None].unbind(1)
    u, v = _turned(pixels, x, y, cosine, sine)
    return u - shift[:, 0, None, None], v - shift[:, 1, None, None]


def _object_distance(scenes: Scenes, pixels: Tensor) -> Plane:
    """Distance to the object's edge, shape by shape."""
    distance = torch.empty(len(scenes.shape), len(pixels), len(pixels), device=pixels.device)
    for number, formula in enumerate(SHAPES.values()):
        chosen = (scenes.shape == number).nonzero()[:, 0]
        u, v = _axes(scenes, chosen, 0, torch.zeros(len(chosen), 2, device=pixels.device), pixels)
        distance[chosen] = formula(u, v, scenes.radius[chosen, None, None] * len(pixels))
    return distance


def _object_paint(scenes: Scenes, blotches: Plane, pixels: Tensor) -> Plane:
    """How much of the object's second colour each pixel has, texture by texture."""
    size = len(pixels)
    paint = covered(blotches * (size / 8))
    for number, (name, formula) in enumerate(TEXTURES.items()):
        chosen = (scenes.texture == number).nonzero()[:, 0]
        radius, period = (value[chosen, None, None] * size for value in (scenes.radius, scenes.period))
        stray = 0.6 * radius if name in CENTRED else 8 * period
        shift = (scenes.phase[chosen] - 0.5) * stray[:, 0]
        u, v = _axes(scenes, chosen, 1, shift, pixels)
        paint[chosen] = formula(u, v, period, radius)
    return paint
