"""Blur: out of focus, behind frosted glass, by zooming, and Gaussian. After `hendrycks2019benchmarking`."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.shapes import Image
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws
from archaeology.data.corruptions.smoothing import smoothed
from archaeology.data.corruptions.zoom import zoomed


@corruption(
    "blur",
    small={"radius": (0.3, 0.4, 0.5, 1.0, 1.5), "softness": (0.4, 0.5, 0.6, 0.2, 0.1)},
    large={"radius": (3.0, 4.0, 6.0, 8.0, 10.0), "softness": (0.1, 0.5, 0.5, 0.5, 0.5)},
)
def defocus_blur(images: Image, draws: Draws, radius: float, softness: float) -> Image:
    """Out of focus: every point becomes a disc, whose edge is softened by a Gaussian of deviation `softness`."""
    height, width = images.shape[-2:]
    kernel = disc(radius, softness).to(images)
    reach = len(kernel) // 2
    around = F.pad(images, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[:, None]
    return F.conv2d(around, kernel[None, None]).view(*images.shape[:2], height, width)


@corruption(
    "blur",
    small={"sigma": (0.05, 0.25, 0.4, 0.25, 0.4), "reach": (1, 1, 1, 1, 1), "rounds": (1, 1, 1, 2, 2)},
    large={"sigma": (0.7, 0.9, 1.0, 1.1, 1.5), "reach": (1, 2, 2, 3, 4), "rounds": (2, 1, 3, 2, 2)},
)
def glass_blur(images: Image, draws: Draws, sigma: float, reach: int, rounds: int) -> Image:
    """Frosted glass: smoothed, then every pixel shows what lies up to `reach` pixels away, then smoothed again.

    The authors mean to swap pixels, but their code copies (both sides of the swap are views of one array); the
    published images are made of copies, and so are these. Differs: not rounded to 8 bits on the way.
    """
    height, width = images.shape[-2:]
    pixels = smoothed(images, sigma).flatten(2)
    steps = draws.whole("glass", -reach, reach - 1, rounds, 2, height, width)
    for now in range(rounds):
        down, right = steps[:, now].unbind(1)
        places = seen_through_glass(down, right, reach)[:, None].expand(-1, images.shape[1], -1)
        pixels = pixels.gather(2, places)
    return smoothed(pixels.view_as(images), sigma)


@corruption(
    "blur",
    small={"furthest": (1.06, 1.11, 1.16, 1.21, 1.26), "step": (0.01, 0.01, 0.01, 0.01, 0.01)},
    large={"furthest": (1.11, 1.16, 1.21, 1.26, 1.31), "step": (0.01, 0.01, 0.02, 0.02, 0.03)},
)
def zoom_blur(images: Image, draws: Draws, furthest: float, step: float) -> Image:
    """Moving closer while the shutter is open: the mean of the image and its enlargements, from 1 to `furthest`."""
    factors = np.arange(
        1, furthest, step
    ).tolist()  # whether the last one is in is up to rounding, as published
    total = images.clone()
    for factor in factors:
        total += zoomed(images, factor)
    return total / (len(factors) + 1)


@corruption(
    "blur",
    small={"sigma": (0.4, 0.6, 0.7, 0.8, 1.0)},
    large={"sigma": (1.0, 2.0, 3.0, 4.0, 6.0)},
    is_extra=True,
)
def gaussian_blur(images: Image, draws: Draws, sigma: float) -> Image:
    """Every point becomes a Gaussian."""
    return smoothed(images, sigma)


def disc(radius: float, softness: float) -> Float[Tensor, "side side"]:
    """A disc whose pixels sum to one, its edge softened over 3 x 3 pixels, or 5 x 5 beyond a radius of 8."""
    half, reach = (8, 1) if radius <= 8 else (int(radius), 2)
    line = torch.arange(-half, half + 1, dtype=torch.float64)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).double()
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / softness) ** 2)
    soft = torch.outer(weights, weights) / weights.sum() ** 2
    around = F.pad((inside / inside.sum())[None, None], (reach, reach, reach, reach), mode="reflect")
    kernel = F.conv2d(around, soft[None, None])[0, 0]
    rim = half - min(half, int(radius) + reach)  # only zeros
    return kernel[rim : len(kernel) - rim, rim : len(kernel) - rim]


def seen_through_glass(
    down: Int[Tensor, "batch height width"], right: Int[Tensor, "batch height width"], reach: int
) -> Int[Tensor, "batch pixel"]:
    """Which pixel each pixel shows at the end, if all copy another, one after the other, the last one first.

    Args:
        down: How many rows further down each pixel looks, in -`reach`..`reach` - 1.
        right: How many columns further right.
        reach: Pixels at least so far from the border copy; the others stay.

    Returns:
        Row times width plus column of what is shown. What was copied earlier may be copied on, so pixels point to
        pixels in chains, which are followed all at once, twice as far each time.
    """
    height, width = down.shape[1:]
    row, column = torch.arange(height, device=down.device), torch.arange(width, device=down.device)
    # The loops of the published code run from side - reach down to reach + 1.
    copies = ((row > reach) & (row <= height - reach))[:, None] & (column > reach) & (column <= width - reach)
    itself = (row[:, None] * width + column).flatten()
    moved = torch.where(copies, down * width + right, 0).flatten(1)
    points = itself + moved
    copies = copies.flatten()
    goes_on = copies & copies[points] & (points > itself)  # to one that was overwritten before
    while goes_on.any():
        points, goes_on = (
            torch.where(goes_on, points.gather(1, points), points),
            goes_on & goes_on.gather(1, points),
        )
    return points
