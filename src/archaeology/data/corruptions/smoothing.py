"""Gaussian smoothing as two matrix products, so that any width and any border cost the same.

Equal to `scipy.ndimage.gaussian_filter`, which the authors of `hendrycks2019benchmarking` use through scikit-image.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image


def smoothed(images: Image, sigma: float, *, truncate: float = 4.0, border: str = "nearest") -> Image:
    """Images under a Gaussian.

    Args:
        images: Any.
        sigma: Standard deviation in pixels; 0 leaves them as they are.
        truncate: Standard deviations after which the Gaussian is cut off.
        border: What lies beyond it: "nearest" (the last pixel again and again) or "reflect" (the image mirrored, its
            last pixel twice).
    """
    height, width = images.shape[-2:]
    down = smoothing_matrix(height, sigma, truncate, border).to(images)
    right = smoothing_matrix(width, sigma, truncate, border).to(images)
    return down @ images @ right.T


def smoothing_matrix(
    length: int, sigma: float, truncate: float, border: str
) -> Float[Tensor, "{length} {length}"]:
    """What each pixel of a line takes from each pixel of it: rows sum to one. In double precision."""
    radius = int(truncate * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1)
    if radius == 0:
        return torch.eye(length, dtype=torch.float64)
    weights = torch.exp(-0.5 * (steps.double() / sigma) ** 2)
    places = torch.arange(length)[:, None] + steps
    if border == "nearest":
        places = places.clamp(0, length - 1)
    else:
        places = places.remainder(2 * length)
        places = torch.minimum(places, 2 * length - 1 - places)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(length, -1))
