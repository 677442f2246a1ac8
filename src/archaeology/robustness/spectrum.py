"""What a change of images is made of: the share of its power in coarse and in fine patterns.

Power is summed over rings of frequencies and channels, per image, so that an image that was changed much counts no more
than another. Beside the share stands what noise without any preference (white noise) would have in the same ring.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import unit_images
from archaeology.core.intervals import Interval, bootstrap_means
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.robustness.filters import radii
from archaeology.robustness.written import written

EDGES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.5)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power of changes by frequency.

    Attributes:
        edges: Of the rings, shares of Nyquist, ascending; each ring holds its lower edge.
        shares: Of each change's power in each ring; rows sum to 1, NaN for an image that was not changed.
        white: What white noise has in each ring.
    """

    edges: tuple[float, ...]
    shares: Float[np.ndarray, "image ring"]
    white: Float[np.ndarray, " ring"]

    @property
    def changed(self) -> Float[np.ndarray, "image ring"]:
        """Shares of the images that were changed."""
        return self.shares[~np.isnan(self.shares).any(axis=1)]

    def means(self, *, seed: int = 0) -> list[Interval]:
        """Mean share of each ring over changed images, bootstrapped.

        Raises:
            ValueError: If no image was changed.
        """
        if len(self.changed) == 0:
            raise ValueError("a spectrum needs at least one image that was changed, but all are as before.")
        return bootstrap_means(self.changed, seed=seed)

    def describe(self) -> dict[str, object]:
        """One row for each ring, ready for JSON.

        Keys: `low, high, share` with its interval, `white`, and `density`: how many times as strong as in white noise
        of the same power.
        """
        rows = [
            {"low": low, "high": high, "white": float(white), "density": interval.value / float(white)}
            | written("share", interval)
            for low, high, white, interval in zip(
                self.edges[:-1], self.edges[1:], self.white, self.means(), strict=True
            )
        ]
        return {"n": len(self.changed), "unchanged": len(self.shares) - len(self.changed), "rings": rows}


def spectrum_of_change(
    original: Image | PixelImage, changed: OtherImages, *, edges: Sequence[float] = EDGES
) -> Spectrum:
    """The spectrum of `changed - original`, image by image.

    Args:
        original: Floats in [0, 1] or 8 bit, for example before an attack.
        changed: The same images after.
        edges: Of rings, as shares of Nyquist, ascending from 0 to beyond the corner (1.42), each holding a frequency.

    Raises:
        ValueError: If images make no pairs, or the edges do not fit.
    """
    if original.shape != changed.shape:
        raise ValueError(
            f"original and changed must be the same images, but got shapes {tuple(original.shape)} and "
            f"{tuple(changed.shape)}."
        )
    device = original.device
    change = (unit_images(changed, device).double() - unit_images(original, device).double()).cpu()
    height, width = change.shape[-2:]
    rings = _rings(height, width, edges)
    # Of a plane and its reflection `rfft2` keeps one half; its other columns stand for two.
    twice = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    power = torch.fft.rfft2(change).abs().square().sum(dim=1) * twice
    per_ring = power.flatten(1) @ rings.flatten(1).T
    shares = per_ring / per_ring.sum(dim=1, keepdim=True)  # 0 / 0 is NaN where nothing was changed
    white = (rings * twice).sum(dim=(1, 2)) / (height * width)
    return Spectrum(tuple(float(edge) for edge in edges), shares.numpy(), white.numpy())


def _rings(height: int, width: int, edges: Sequence[float]) -> Float[Tensor, "ring height half_width"]:
    ends = torch.tensor(list(edges), dtype=torch.float64)
    radius = radii(height, width).double()
    inside = (radius >= ends[:-1, None, None] - 1e-6) & (radius < ends[1:, None, None] - 1e-6)
    whole = len(ends) >= 2 and ends[0] == 0 and ends[-1] > 2**0.5 and bool((ends.diff() > 0).all())
    if not whole or not inside.flatten(1).any(dim=1).all():
        raise ValueError(
            "edges must ascend from 0 to beyond the corner of the plane (1.42), with a frequency of "
            f"{height} x {width} pixels between any two, but got {list(edges)}."
        )
    return inside.double()
