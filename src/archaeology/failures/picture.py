"""What a picture is like, in five numbers: brightness, contrast, saturation, sharpness and density of edges."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8

from archaeology.stats.scene import LUMA, edge_energy

CHUNK = 256
EDGE = 0.125  # brightness per two pixels from which on a pixel lies on an edge


@torch.no_grad()
def picture_columns(
    images: UInt8[np.ndarray, "image channel height width"],
) -> dict[str, Float[np.ndarray, " image"]]:
    """Numbers of each image, in the units of pixels in [0, 1].

    Returns:
        `brightness`, the mean; `contrast`, the standard deviation of the brightness; `saturation`, the mean of the
        largest channel less the smallest; `sharpness`, the standard deviation of the brightness's Laplacian;
        `edge_density`, the share of pixels on an edge.
    """
    parts = [
        _of_some(torch.from_numpy(np.array(images[at : at + CHUNK]))) for at in range(0, len(images), CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})}


def _of_some(images: torch.Tensor) -> dict[str, np.ndarray]:
    pixels = images.double() / 255
    bright = torch.einsum("bchw,c->bhw", pixels, torch.tensor(LUMA, dtype=pixels.dtype))
    across = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=pixels.dtype)
    bend = (
        F.conv2d(bright[:, None], across[None, None]) if min(bright.shape[1:]) >= 3 else bright[:, None] * 0
    )
    on_edge = edge_energy(pixels, (pixels.shape[2], pixels.shape[3])) > EDGE
    found = {
        "brightness": bright.mean(dim=(1, 2)),
        "contrast": bright.flatten(1).std(dim=1, correction=0),
        "saturation": (pixels.amax(dim=1) - pixels.amin(dim=1)).mean(dim=(1, 2)),
        "sharpness": bend.flatten(1).std(dim=1, correction=0),
        "edge_density": on_edge.double().mean(dim=1),
    }
    return {name: values.numpy() for name, values in found.items()}
