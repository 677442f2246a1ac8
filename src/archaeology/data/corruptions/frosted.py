"""Frosted window panes, drawn: stars of needles with side branches, grown over one another on milky glass.

Our own construction, in place of the photographs of `hendrycks2019benchmarking`. Its colours, brightness and contrast
lie in the range of theirs: mean levels from 0.35 to 0.8, a little blue, deviation around 0.13. As with theirs, small
images show every fifth pixel of a larger pane.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.data.corruptions.corruption import SMALL
from archaeology.data.corruptions.draws import Draws
from archaeology.data.corruptions.smoothing import smoothed

NUM_STARS = 28
TAU = 2 * math.pi

Map = Float[Tensor, "batch height width"]
Trait = Float[Tensor, "batch 1 1"]


def frosted_pane(draws: Draws, size: tuple[int, int]) -> Float[Tensor, "batch 3 height width"]:
    """A pane for each image, in [0, 1].

    Args:
        draws: Of the images.
        size: Height and width in pixels.
    """
    height, width = size
    crystals = grown(draws, size, 5 if min(size) <= SMALL else 1)
    haze = smoothed(draws.normal("haze", 1, height, width), min(size) / 8, border="reflect")[:, 0]
    haze = haze / haze.flatten(1).std(1)[:, None, None].clamp(min=1e-6)
    level = 0.35 + 0.45 * draws.uniform("level")[:, None, None]
    ice = 0.5 * (crystals - crystals.flatten(1).mean(1)[:, None, None]) + 0.05 * haze
    cold = 0.15 * draws.uniform("cold")[:, None, None]
    return torch.stack([level - cold + ice, level + ice, level + 0.5 * cold + ice], dim=1).clamp(0, 1)


def grown(draws: Draws, size: tuple[int, int], every: int) -> Map:
    """Stars of ice, 0 (none) to 1; where two meet, the brighter one is seen.

    Args:
        draws: Of the images.
        size: Height and width in pixels.
        every: The pane is so many times larger, and one in so many of its pixels is shown.
    """
    height, width = size[0] * every, size[1] * every
    side = min(height, width)
    # Of each star: row, column, radius, turn, needles, brightness, spacing of branches.
    drawn = draws.uniform("stars", NUM_STARS, 7)
    row = torch.arange(every // 2, height, every, device=drawn.device, dtype=drawn.dtype)[:, None]
    column = torch.arange(every // 2, width, every, device=drawn.device, dtype=drawn.dtype)
    ice = drawn.new_zeros(len(drawn), *size)
    for star in range(NUM_STARS):
        traits = drawn[:, star, :, None, None].unbind(1)
        down, right = row - traits[0] * height, column - traits[1] * width
        radius = side * (0.12 + 0.38 * traits[2] ** 2)
        needles = 5 + (traits[4] * 4).floor()
        shape = _star(down, right, radius, TAU * traits[3], needles, (0.1 + 0.08 * traits[6]) * radius)
        ice = torch.maximum(ice, (0.5 + 0.5 * traits[5]) * shape)
    return ice


def _star(
    down: Float[Tensor, "batch height 1"],
    right: Float[Tensor, "batch 1 width"],
    radius: Trait,
    turn: Trait,
    needles: Trait,
    spacing: Trait,
) -> Map:
    """One star: the plane is folded onto half a needle, then onto half the room between two of its branches."""
    distance = (down**2 + right**2).sqrt()
    wedge = TAU / needles
    angle = torch.atan2(down, right) + turn
    angle = (angle - wedge * (angle / wedge).round()).abs()
    along, across = distance * angle.cos(), distance * angle.sin()
    left = (1 - along / radius).clamp(0, 1)  # 1 at the root, 0 at the tip
    # Branches leave the needle at 60 degrees, forwards, and are the shorter the nearer the tip.
    foot = along - across / math.tan(math.pi / 3)
    off = (foot - spacing * (foot / spacing).round()).abs() * math.sin(math.pi / 3)
    length = 0.45 * radius * (1 - foot.clamp(min=0) / radius).clamp(0, 1)
    reached = (1 - across / length.clamp(min=1e-6)).clamp(0, 1)
    width = (0.012 * radius).clamp(min=0.55)  # never thinner than what pixels can show
    needle = torch.exp(-0.5 * (across / (width * (0.5 + left))) ** 2) * left.sqrt() * (along < radius)
    branch = torch.exp(-0.5 * (off / width) ** 2) * reached.sqrt() * (foot > 0)
    return torch.maximum(needle, 0.7 * branch)
