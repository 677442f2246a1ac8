"""Fill in missing pixels from their neighbours, so that a removed patch leaves no edge that tells where it was.

Source: `rong2022consistent`: every missing pixel equals the weighted mean of its eight neighbours (1/6 beside, above
and below, 1/12 at the corners; what lies outside the image does not count), which is a sparse linear system, plus a
little noise. Differs: solved for a whole batch at once by conjugate gradients with the stencil as two passes of (1,
2, 1), each image stopped when it is done, so that its answer does not depend on the others.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.shapes import Image

MAX_ITERATIONS = 2000


@torch.no_grad()
def imputed(images: Image, known: Bool[Tensor, "batch height width"], *, tolerance: float = 1e-4) -> Image:
    """The images with unknown pixels solved for; an image of which nothing is known gets its mean colour.

    Args:
        images: Values of unknown pixels are not looked at (but for the mean colour of an image of which nothing is
            known).
        known: Which pixels are left as they are.
        tolerance: Residual of an equation, in units of the values, that is small enough for an image to be done. With
            1e-4 pixels are wrong by less than the noise that is added (0.01); 1e-7 is as good as a direct solver.
    """
    unknown = (~known[:, None]).to(images)
    weight = neighbours(torch.ones_like(unknown))
    whole = torch.where(known[:, None], images, _mean_of_known(images, 1 - unknown))
    residual = unknown * (neighbours(whole) - weight * whole)
    direction, energy = residual.clone(), _dot(residual, residual)
    correction = torch.zeros_like(residual)
    for _ in range(MAX_ITERATIONS):
        going = residual.abs().amax(dim=(1, 2, 3), keepdim=True) > tolerance
        if not going.any():
            break
        applied = unknown * (weight * direction - neighbours(direction))
        curvature = _dot(direction, applied)
        step = torch.where(going & (curvature > 0), energy / curvature, torch.zeros_like(energy))
        correction += step * direction
        residual -= step * applied
        fresh = _dot(residual, residual)
        turn = torch.where(going & (energy > 0), fresh / energy, torch.zeros_like(energy))
        direction = residual + turn * direction
        energy = fresh
    return whole + correction


def _mean_of_known(
    images: Image, share: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch channel 1 1"]:
    """Each image's mean colour over what is known of it; over all of it where nothing is."""
    count = share.sum(dim=(2, 3), keepdim=True)
    seen = (images * share).sum(dim=(2, 3), keepdim=True) / count.clamp(min=1)
    return torch.where(count > 0, seen, images.mean(dim=(2, 3), keepdim=True))


def neighbours(values: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "..."]:
    """Weighted sum of the eight neighbours: (1, 2, 1) down times (1, 2, 1) across, less the middle, over 12."""
    down = F.pad(values, (0, 0, 1, 1))
    down = down[:, :, :-2] + 2 * values + down[:, :, 2:]
    across = F.pad(down, (1, 1))
    return (across[..., :-2] + 2 * down + across[..., 2:] - 4 * values) / 12


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Of each channel of each image on its own: they are systems of their own."""
    return (first * second).sum(dim=(2, 3), keepdim=True)
