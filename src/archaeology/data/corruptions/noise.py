"""Noise: every pixel and channel on its own. After `hendrycks2019benchmarking`, strengths as published."""

import torch

from archaeology.core.shapes import Image
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws


@corruption(
    "noise",
    small={"deviation": (0.04, 0.06, 0.08, 0.09, 0.10)},
    large={"deviation": (0.08, 0.12, 0.18, 0.26, 0.38)},
)
def gaussian_noise(images: Image, draws: Draws, deviation: float) -> Image:
    """Too little light: normal noise of one standard deviation everywhere."""
    return images + deviation * draws.normal("noise", *images.shape[1:])


@corruption(
    "noise",
    small={"photons": (500.0, 250.0, 100.0, 75.0, 50.0)},
    large={"photons": (60.0, 25.0, 12.0, 5.0, 3.0)},
)
def shot_noise(images: Image, draws: Draws, photons: float) -> Image:
    """Light comes in grains: a Poisson number of them, `photons` on average where the image is white."""
    return draws.poisson("photons", images * photons) / photons


@corruption(
    "noise",
    small={"share": (0.01, 0.02, 0.03, 0.05, 0.07)},
    large={"share": (0.03, 0.06, 0.09, 0.17, 0.27)},
)
def impulse_noise(images: Image, draws: Draws, share: float) -> Image:
    """Errors of bits: a share of all values becomes 0 or 1, as likely."""
    drawn = draws.uniform("impulse", *images.shape[1:])
    return torch.where(drawn < share, (drawn < share / 2).to(images), images)


@corruption(
    "noise",
    small={"deviation": (0.06, 0.10, 0.12, 0.16, 0.20)},
    large={"deviation": (0.15, 0.20, 0.35, 0.45, 0.60)},
    is_extra=True,
)
def speckle_noise(images: Image, draws: Draws, deviation: float) -> Image:
    """Noise in proportion to the brightness."""
    return images + images * deviation * draws.normal("noise", *images.shape[1:])
