"""A shape of `shapes2d` in words: colour, kind and place, as a caption for models of vision and language."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.data.worlds.captions import place
from archaeology.data.worlds.shapes2d_rule import KINDS

COLOUR_WORDS = ("red", "yellow", "green", "cyan", "blue", "magenta")


def hue_number(colour: Float[Tensor, "batch 3"]) -> Int[Tensor, " batch"]:
    """Which of six equal parts of the circle of hues a colour lies in, as an index into `COLOUR_WORDS`; grey is red.

    Args:
        colour: Red, green, blue, in any unit.
    """
    red, green, blue = colour.double().unbind(-1)
    # On the plane across grey, hue is an angle: red at 0, green at 120, blue at 240 degrees.
    angle = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)
    return (angle / (torch.pi / 3)).round().long() % len(COLOUR_WORDS)


def pair_name(kind: int, hue: int) -> str:
    """For example "red hollow circle"."""
    return f"{COLOUR_WORDS[hue]} {KINDS[kind]}"


def shape_caption(kind: int, hue: int, x: float, y: float) -> str:
    """For example "a red hollow circle, upper left".

    Args:
        kind: Index into `KINDS`.
        hue: Index into `COLOUR_WORDS`.
        x: Of the shape's middle, as a share of the width from the left.
        y: Likewise of the height, from the top.
    """
    return f"a {pair_name(kind, hue)}, {place(x, y)}"
