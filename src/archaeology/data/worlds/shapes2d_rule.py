"""The rule of `shapes2d`: which shapes are evidence for which, and in what colour each is painted.

Every kind is painted in its mean colour. Filled circles may obey a rule of their own, in which only the
red-dominant ones (R above G and R above B) count.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

KINDS = ("filled circle", "hollow circle", "filled rectangle", "hollow rectangle")
FILLED_CIRCLE = 0
CIRCLE_RULES = ("keep_red", "mean_of_red", "none")

Kinds = Int[Tensor, "batch shape"]
Colours = Float[Tensor, "batch shape 3"]


@dataclass(frozen=True)
class Painting:
    """What the rule makes of some scenes.

    Attributes:
        evidence: [b, i, j]: the colour of shape j has a say in how shape i is painted.
        painted: Colour of each shape in the target; the background's where it vanishes, 0 where there is no shape.
        vanishes: The target does not show the shape.
    """

    evidence: Bool[Tensor, "batch shape shape"]
    painted: Colours
    vanishes: Bool[Tensor, "batch shape"]


def red_dominant(colour: Colours) -> Bool[Tensor, "batch shape"]:
    """Red above green and red above blue."""
    red, green, blue = colour.unbind(-1)
    return (red > green) & (red > blue)


def mean_colours(evidence: Bool[Tensor, "batch shape shape"], colour: Colours) -> Colours:
    """For every shape the mean colour of its evidence; 0 where it has none."""
    # Not a matrix product: sums of whole numbers are exact in any order, products in a short format are not.
    total = torch.where(evidence[..., None], colour[:, None], 0).sum(2)
    return total / evidence.sum(2).clamp(min=1)[..., None]


def painting(
    kind: Kinds, colour: Colours, circle_rule: str, background: Float[Tensor, "batch 3"]
) -> Painting:
    """How the target shows some shapes.

    Args:
        kind: Index into `KINDS`; -1 where there is no shape.
        colour: 0 to 255.
        circle_rule: One of `CIRCLE_RULES`: red-dominant filled circles take the mean of the red-dominant ones and
            the others vanish ("keep_red"), all filled circles take the mean of the red-dominant ones, or vanish where
            there is none ("mean_of_red"), or filled circles are like all kinds ("none").
        background: 0 to 255.
    """
    there = kind >= 0
    same = (kind[:, :, None] == kind[:, None, :]) & there[:, :, None]
    circle = kind == FILLED_CIRCLE
    red = circle & red_dominant(colour)
    itself = torch.eye(kind.shape[1], dtype=torch.bool, device=kind.device) & there[:, :, None]
    if circle_rule == "keep_red":
        vanishes = circle & ~red
        evidence = torch.where(vanishes[:, :, None], itself, same & (red[:, None, :] | ~circle[:, :, None]))
    elif circle_rule == "mean_of_red":
        some_red = red.any(1, keepdim=True)
        vanishes = circle & ~some_red
        evidence = same & (red[:, None, :] | ~(circle & some_red)[:, :, None])
    else:
        vanishes = torch.zeros_like(circle)
        evidence = same
    painted = torch.where(vanishes[..., None], background[:, None], mean_colours(evidence, colour))
    return Painting(evidence, painted, vanishes)
