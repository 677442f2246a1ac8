"""Images without their fine or without their coarse patterns.

Frequencies are shares of Nyquist, the fastest pattern that pixels can show; a radius counts rows and columns together,
so corners reach 1.41 (as in `attacks/bands.py`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image


def low_pass(images: Image, cutoff: float) -> Image:
    """Only patterns as coarse as the cutoff or coarser, cut off to [0, 1].

    Args:
        images: In [0, 1].
        cutoff: Share of Nyquist; 0 leaves only the mean colour.

    Raises:
        ValueError: If the cutoff is negative.
    """
    return _filtered(images, cutoff, coarse=True)


def high_pass(images: Image, cutoff: float) -> Image:
    """Only patterns finer than the cutoff, around the mean colour, cut off to [0, 1].

    Args:
        images: In [0, 1].
        cutoff: Share of Nyquist; 0 leaves the images as they are.

    Raises:
        ValueError: If the cutoff is negative.
    """
    return _filtered(images, cutoff, coarse=False)


def radii(height: int, width: int) -> Float[Tensor, "height half_width"]:
    """Frequency of every coefficient of `rfft2`, as a share of Nyquist."""
    down, right = 2 * torch.fft.fftfreq(height), 2 * torch.fft.rfftfreq(width)
    return torch.hypot(down[:, None], right[None])


def _filtered(images: Image, cutoff: float, *, coarse: bool) -> Image:
    if not cutoff >= 0:
        raise ValueError(f"cutoff must be a share of Nyquist >= 0, such as 0.25, but got {cutoff=}.")
    height, width = images.shape[-2:]
    radius = radii(height, width).to(images.device)
    is_low = radius <= cutoff + 1e-6
    kept = is_low if coarse else ~is_low | (radius == 0)
    return torch.fft.irfft2(torch.fft.rfft2(images) * kept, s=(height, width)).clamp(0, 1)
