"""What cameras, screens and files do: contrast, coarse pixels, JPEG, colour. After `hendrycks2019benchmarking`."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image
from archaeology.data.corruptions.corruption import corruption
from archaeology.data.corruptions.draws import Draws
from archaeology.data.corruptions.jpeg import jpeg


@corruption(
    "digital",
    small={"factor": (0.75, 0.5, 0.4, 0.3, 0.15)},
    large={"factor": (0.4, 0.3, 0.2, 0.1, 0.05)},
)
def contrast(images: Image, draws: Draws, factor: float) -> Image:
    """Every pixel is drawn towards the mean of its channel."""
    means = images.mean((2, 3), keepdim=True)
    return (images - means) * factor + means


@corruption(
    "digital",
    small={"factor": (0.95, 0.9, 0.85, 0.75, 0.65)},
    large={"factor": (0.6, 0.5, 0.4, 0.3, 0.25)},
)
def pixelate(images: Image, draws: Draws, factor: float) -> Image:
    """Fewer pixels: the image is made smaller by a factor (means of boxes), then each pixel is repeated."""
    down, right = (coarse_matrix(side, factor).to(images) for side in images.shape[-2:])
    return down @ images @ right.T


@corruption(
    "digital",
    small={"quality": (80, 65, 58, 50, 40)},
    large={"quality": (25, 18, 15, 10, 7)},
)
def jpeg_compression(images: Image, draws: Draws, quality: int) -> Image:
    """Stored as a JPEG and read again; see `jpeg`."""
    return jpeg(images, quality)


@corruption(
    "digital",
    small={"factor": (0.3, 0.1, 1.5, 2.0, 2.5), "more": (0.0, 0.0, 0.0, 0.1, 0.2)},
    large={"factor": (0.3, 0.1, 2.0, 5.0, 20.0), "more": (0.0, 0.0, 0.0, 0.1, 0.2)},
    is_extra=True,
)
def saturate(images: Image, draws: Draws, factor: float, more: float) -> Image:
    """Saturation (of hue, saturation and value) times a factor, plus `more`; grey has the hue of red, as published."""
    if images.shape[1] == 1:
        return images
    value, lowest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = value - lowest
    saturation = chroma / value.clamp(min=1e-12)
    wanted = (saturation * factor + more).clamp(0, 1)
    is_grey = chroma <= 0
    # Share of the chroma by which each channel lies below the brightest one: does not change.
    below = (value - images) / chroma.clamp(min=1e-12)
    below = torch.where(is_grey, images.new_tensor([0.0, 1.0, 1.0])[:, None, None], below)
    return value * (1 - wanted * below)


def coarse_matrix(length: int, factor: float) -> Float[Tensor, "{length} {length}"]:
    """What each pixel of a line is the mean of, if the line is made smaller and large again; double precision.

    Pillow's rule for boxes: a pixel belongs to the box that its centre lies in, one on the edge to the left one.
    """
    fewer = int(length * factor)
    scale = length / fewer
    centres = (torch.arange(fewer, dtype=torch.float64) + 0.5) * scale
    offset = (torch.arange(length, dtype=torch.float64) + 0.5 - centres[:, None]) / scale
    inside = ((offset > -0.5) & (offset <= 0.5)).double()
    means = inside / inside.sum(1, keepdim=True)
    place = ((torch.arange(length, dtype=torch.float64) + 0.5) / scale - 0.5).round().long()
    return F.one_hot(place.clamp(0, fewer - 1), fewer).double() @ means
