"""Bands of the Fourier plane: which part of a change is coarse, which is fine.

Frequencies are given as a share of Nyquist, the fastest pattern that pixels can show (from each pixel to the next and
back); a radius counts rows and columns together, so corners reach 1.41.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image

BANDS: dict[str, tuple[float, float]] = {  # from, up to but not including
    "low": (0.0, 0.25),
    "middle": (0.25, 0.5),
    "high": (0.5, torch.inf),
}


def in_band(height: int, width: int, band: str) -> Bool[Tensor, "height half_width"]:
    """Which coefficients of `rfft2` belong to the band.

    Raises:
        UnknownNameError: If there is no such band.
    """
    if band not in BANDS:
        raise unknown_name("band", band, list(BANDS))
    low, high = BANDS[band]
    radius = torch.hypot(2 * torch.fft.fftfreq(height)[:, None], 2 * torch.fft.rfftfreq(width)[None])
    return (radius >= low) & (radius < high)


def part_in_band(change: Image, band: str) -> Image:
    """The nearest change that lies wholly in the band: all other frequencies are taken out."""
    height, width = change.shape[-2:]
    spectrum = torch.fft.rfft2(change) * in_band(height, width, band).to(change.device)
    return torch.fft.irfft2(spectrum, s=(height, width))


def share_outside(change: Image, band: str) -> Float[Tensor, " batch"]:
    """Share of a change's energy (sum of squares) that lies outside the band, 0 to 1; 0 for no change."""
    change = change.double()
    outside = (change - part_in_band(change, band)).square().sum(dim=(1, 2, 3))
    return outside / change.square().sum(dim=(1, 2, 3)).clamp(min=1e-30)
