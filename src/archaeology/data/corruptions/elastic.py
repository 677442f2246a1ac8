"""Elastic: a random affine map of the whole image, then random local shifts. After `hendrycks2019benchmarking`."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws
from archaeology.data.corruptions.smoothing import smoothed

LARGE = 244 / 224  # the published code multiplies by 244 for images of 224 pixels


@corruption(
    "digital",
    small={
        "strength": (0.0, 0.05, 0.08, 0.1, 0.1),
        "smoothness": (0.0, 0.2, 0.06, 0.04, 0.03),
        "affine": (0.08, 0.07, 0.06, 0.05, 0.03),
    },
    large={
        "strength": (2 * LARGE, 2 * LARGE, 0.05 * LARGE, 0.07 * LARGE, 0.12 * LARGE),
        "smoothness": (0.7 * LARGE, 0.08 * LARGE, 0.01 * LARGE, 0.01 * LARGE, 0.01 * LARGE),
        "affine": (0.1 * LARGE, 0.2 * LARGE, 0.02 * LARGE, 0.02 * LARGE, 0.02 * LARGE),
    },
)
def elastic_transform(
    images: Image, draws: Draws, strength: float, smoothness: float, affine: float
) -> Image:
    """Stretched like rubber; all parameters are shares of the shorter side.

    Three points around the centre move by up to `affine`, and the image with them, mirrored beyond its border. Then
    each pixel is read from up to `strength` away, neighbours from similar places (`smoothness`: deviation of the
    Gaussian over uniform noise).
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    there = three_points(images).expand(len(images), 3, 2)
    moved = there + affine * side * (2 * draws.uniform("affine", 3, 2).double() - 1)
    images = warped(images, there, moved)
    if strength == 0:
        return images
    noise = 2 * draws.uniform("shift", 2, height, width) - 1
    shift = strength * side * smoothed(noise, smoothness * side, truncate=3.0, border="reflect")
    return shifted(images, shift)


def three_points(images: Image) -> Float[Tensor, "3 2"]:
    """Column and row of three corners of a square around the centre."""
    height, width = images.shape[-2:]
    centre, reach = torch.tensor([width // 2, height // 2]), min(height, width) // 3
    corners = torch.tensor([[1, 1], [1, -1], [-1, -1]])
    return (centre + reach * corners).double().to(images.device)


def warped(images: Image, there: Float[Tensor, "batch 3 2"], moved: Float[Tensor, "batch 3 2"]) -> Image:
    """Each image after the affine map that takes the three points `there` to `moved` (column, row), read linearly.

    Beyond the border the image is mirrored, its last pixel once.
    """
    batch, _, height, width = images.shape
    ones = torch.ones(batch, 3, 1, dtype=torch.float64, device=images.device)
    back = torch.linalg.solve(torch.cat([moved, ones], 2), there)  # (column, row, 1) @ back -> where to read
    row, column = _places(images)
    places = torch.stack([column.expand(height, width), row.expand(height, width)], dim=-1).view(1, -1, 2)
    read = places @ back[:, :2] + back[:, 2:]
    return _read(images, read.view(batch, height, width, 2), "whole")


def shifted(images: Image, shift: Float[Tensor, "batch 2 height width"]) -> Image:
    """Each pixel read linearly from `shift` (columns, rows) away; mirrored beyond the border, the last pixel twice."""
    row, column = _places(images)
    right, down = shift.double().unbind(1)
    return _read(images, torch.stack([column + right, row + down], dim=-1), "half")


def _places(images: Image) -> tuple[Float[Tensor, "height 1"], Float[Tensor, " width"]]:
    height, width = images.shape[-2:]
    row = torch.arange(height, dtype=torch.float64, device=images.device)[:, None]
    return row, torch.arange(width, dtype=torch.float64, device=images.device)


def _read(images: Image, places: Float[Tensor, "batch height width 2"], mirror: str) -> Image:
    """Linear between pixels, at places (column, row); the mirror stands on the last pixel or half a pixel outside."""
    sides = torch.tensor([images.shape[3], images.shape[2]], dtype=torch.float64, device=images.device)
    on_pixels = mirror == "whole"
    scaled = 2 * places / (sides - 1) - 1 if on_pixels else (2 * places + 1) / sides - 1
    return F.grid_sample(
        images, scaled.to(images), mode="bilinear", padding_mode="reflection", align_corners=on_pixels
    )
