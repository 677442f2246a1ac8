"""Motion blur along a straight line in any direction, as ImageMagick draws it: one end trails off as a Gaussian."""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws


@corruption(
    "blur",
    small={"radius": (6, 6, 6, 8, 9), "sigma": (1.0, 1.5, 2.0, 2.0, 2.5)},
    large={"radius": (10, 15, 15, 15, 20), "sigma": (3.0, 5.0, 8.0, 12.0, 15.0)},
)
def motion_blur(images: Image, draws: Draws, radius: int, sigma: float) -> Image:
    """The camera moves: in a direction of each image's own, up to 45 degrees from the horizontal."""
    return moved(images, radius, sigma, -45 + 90 * draws.uniform("angle"))


def moved(images: Image, radius: int, sigma: float, degrees: Float[Tensor, " batch"]) -> Image:
    """Each pixel is the weighted mean of 2 x `radius` + 1 pixels on a line that begins at it.

    Beyond the border the last pixel goes on.

    Args:
        images: Any.
        radius: Half the length of the line, in pixels.
        sigma: Deviation of the half Gaussian of weights, in pixels.
        degrees: Direction of the line, from the right and clockwise, for each image.

    References:
        `hendrycks2019benchmarking`, who call ImageMagick.
    """
    batch, channel, height, width = images.shape
    steps = torch.arange(2 * radius + 1, device=images.device, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = (weights / weights.sum()).to(images)
    turn = degrees.double().deg2rad()
    down = (steps * turn.sin()[:, None] - 0.5).ceil().long()
    right = (steps * turn.cos()[:, None] - 0.5).ceil().long()
    row, column = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    pixels, total = images.flatten(2), torch.zeros_like(images).flatten(2)
    for step, weight in enumerate(weights):
        rows = (row + down[:, step, None]).clamp(0, height - 1)
        columns = (column + right[:, step, None]).clamp(0, width - 1)
        places = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, -1)
        total += weight * pixels.gather(2, places.expand(-1, channel, -1))
    return total.view_as(images)
