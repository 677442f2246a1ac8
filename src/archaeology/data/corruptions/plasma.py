"""Clouds by the diamond-square algorithm: each new point is the mean of four old ones and a random step.

Steps shrink from scale to scale, so that a cloud looks alike from far and near. As `hendrycks2019benchmarking` use it
for fog; Differs: a batch of clouds at once.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.data.corruptions.draws import Draws


def plasma(draws: Draws, side: int, decay: float) -> Float[Tensor, "batch side side"]:
    """A cloud for each image, from 0 where it is thinnest to 1; left goes on right, top at the bottom.

    Args:
        draws: Of the images.
        side: Pixels, a power of two.
        decay: By how much steps shrink from one scale to the next finer one is the square of this.
    """
    batch = len(draws.names)
    drawn = 2 * draws.uniform("plasma", side * side - 1) - 1
    cloud = drawn.new_zeros(batch, 1, 1)
    step, wibble, used = side, 100.0, 0
    while step >= 2:
        size = cloud.shape[-1]
        steps = drawn[:, used : used + 3 * size * size].view(batch, 3, size, size) * wibble**2
        cloud = finer(cloud, *steps.unbind(1))
        step, wibble, used = step // 2, wibble / decay, used + 3 * size * size
    low, high = cloud.flatten(1).min(1).values, cloud.flatten(1).max(1).values
    return (cloud - low[:, None, None]) / (high - low)[:, None, None]


def finer(
    cloud: Float[Tensor, "batch size size"],
    middle: Float[Tensor, "batch size size"],
    above: Float[Tensor, "batch size size"],
    beside: Float[Tensor, "batch size size"],
) -> Float[Tensor, "batch double double"]:
    """A cloud of twice the side: the middles of squares first, then the middles of the diamonds that they make.

    Args:
        cloud: On a torus.
        middle: Random steps of the middles of squares.
        above: Of points between two old ones in a row.
        beside: Of points between two old ones in a column.
    """
    batch, size, _ = cloud.shape
    pairs = cloud + cloud.roll(-1, 1)
    centres = (pairs + pairs.roll(-1, 2)) / 4 + middle
    in_row = (centres + centres.roll(1, 1) + cloud + cloud.roll(-1, 2)) / 4 + above
    in_column = (centres + centres.roll(1, 2) + cloud + cloud.roll(-1, 1)) / 4 + beside
    even = torch.stack([cloud, in_row], dim=-1).view(batch, size, 2 * size)
    odd = torch.stack([in_column, centres], dim=-1).view(batch, size, 2 * size)
    return torch.stack([even, odd], dim=2).view(batch, 2 * size, 2 * size)
