"""What cameras, screens and files do: contrast, coarse pixels, JPEG, colour. After `hendrycks2019benchmarking`."""

import torch
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
    """What each pixel of a line is the mean of, if the line is made smaller and large again; double precision."""
    fewer = int(length * factor)
    return _box_matrix(fewer, length) @ _box_matrix(length, fewer)


def _box_matrix(length: int, new: int) -> Float[Tensor, "{new} {length}"]:
    """What each of `new` pixels is the mean of: those whose centres lie in its box, at least the nearest.

    The arithmetic is Pillow's, step by step, for which side a centre on an edge falls to is up to rounding.
    """
    scale = length / new
    reach = max(scale, 1.0)
    place, centre = torch.arange(length).double(), (torch.arange(new).double()[:, None] + 0.5) * scale
    first, last = (centre - 0.5 * reach + 0.5).floor(), (centre + 0.5 * reach + 0.5).floor()
    offset = (place - centre + 0.5) * (1 / reach)
    inside = ((offset > -0.5) & (offset <= 0.5) & (place >= first) & (place < last)).double()
    return inside / inside.sum(1, keepdim=True)
