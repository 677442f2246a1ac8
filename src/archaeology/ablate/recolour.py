"""Scenes of `shapes2d` with one filled circle whose colour can be turned from green-blue to red, all else alike."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.seeding import torch_generator
from archaeology.data.worlds.membership import token_membership
from archaeology.data.worlds.rows import Rows
from archaeology.data.worlds.shapes2d import Shapes2D, Shapes2DBatch
from archaeology.data.worlds.shapes2d_layout import BRIGHT, Scenes2D
from archaeology.data.worlds.shapes2d_rule import FILLED_CIRCLE, red_dominant


@dataclass(frozen=True)
class RecolourScenes(Rows):
    """Scenes with a circle to recolour.

    Attributes:
        chosen: True at that circle.
        others: True at the other red-dominant filled circles, at least one.
        brightness: Mean of red, green and blue that the circle keeps.
        looked_at: The circle's tokens.
        looking: Those of the others, less the circle's.
        number: Of the sample.
    """

    kind: Int[Tensor, "batch shape"]
    centre: Float[Tensor, "batch shape 2"]
    half: Float[Tensor, "batch shape 2"]
    colour: Float[Tensor, "batch shape 3"]
    chosen: Bool[Tensor, "batch shape"]
    others: Bool[Tensor, "batch shape"]
    brightness: Float[Tensor, " batch"]
    looked_at: Bool[Tensor, "batch token"]
    looking: Bool[Tensor, "batch token"]
    number: Int[Tensor, " batch"]

    def at_level(self, world: Shapes2D, dominance: int) -> Shapes2DBatch:
        """The scenes with the chosen circles at this level."""
        new = recoloured(self.brightness, dominance)
        colour = torch.where(self.chosen[..., None], new[:, None], self.colour)
        return world.drawn(Scenes2D(self.kind, self.centre, self.half, colour))


def brightness_range(levels: Sequence[int]) -> tuple[int, int]:
    """Which mean of red, green and blue a colour may have to reach all `levels` within the world's colours.

    Raises:
        ValueError: If there is none, or no level lies above 0, or none below.
    """
    highest, lowest = max(levels, default=0), min(levels, default=0)
    if not lowest < 0 < highest:
        raise ValueError(f"levels must lie on both sides of 0, but got {list(levels)}.")
    least = max(BRIGHT, -(-highest // 3), 1 - (2 * lowest // 3))  # no channel below 0, the largest bright
    most = 254 - max(-(-2 * highest // 3), -(lowest // 3))
    if least > most:
        raise ValueError(
            f"levels must leave room for bright colours, 0 to 255 in every channel, but got {lowest} to {highest}; "
            "stay within -180 to 180."
        )
    return least, most


def recoloured(brightness: Float[Tensor, " batch"], dominance: int) -> Float[Tensor, "batch 3"]:
    """Colours of whole numbers with red above green and blue by `dominance`, and this mean of the three, to 1."""
    other = (brightness - dominance / 3 + 0.5).floor()
    return torch.stack([other + dominance, other, other], dim=-1)


def recolour_scenes(world: Shapes2D, count: int, patch_size: int, levels: Sequence[int]) -> RecolourScenes:
    """Those of the first `count` scenes that have a filled circle and another, red-dominant one.

    Raises:
        ValueError: If there is none, or the levels are impossible.
    """
    least, most = brightness_range(levels)
    layout = world.layouts(0, count)
    circle = layout.kind == FILLED_CIRCLE
    red = circle & red_dominant(layout.colour)
    can = circle & (red.sum(dim=1, keepdim=True) > red.long())
    dice = torch.rand(can.shape, generator=torch_generator(world.seed, "colour_rule"))
    place = dice.where(can, -1.0).argmax(dim=1, keepdim=True)
    chosen = can & (torch.arange(can.shape[1]) == place)
    others = red & ~chosen
    owner = torch.cat(
        [world.drawn(layout.part(i, i + world.bite)).owner for i in range(0, count, world.bite)]
    )
    members = token_membership(owner, can.shape[1], patch_size)
    looked_at = (members & chosen[..., None]).any(dim=1)
    looking = (members & others[..., None]).any(dim=1) & ~looked_at
    usable = can.any(dim=1) & looking.any(dim=1)
    if not bool(usable.any()):
        raise ValueError(
            f"some scene must have two filled circles, one of them red-dominant, in patches of their own, but got none "
            f"in {count}; look at more."
        )
    bright = layout.colour.mean(dim=-1).where(chosen, 0.0).sum(dim=1).clamp(least, most)
    every = RecolourScenes(
        *(layout.kind, layout.centre, layout.half, layout.colour),
        *(chosen, others, bright, looked_at, looking, torch.arange(count)),
    )
    return RecolourScenes(*(getattr(every, field.name)[usable] for field in fields(every)))
