"""Random crops and mirror images, different for each image of a batch, by one gather on the batch's device.

Cropping a reflected border and mirroring are the same thing: reading pixels from other places. So the places
are computed first and the pixels are read once. After `he2016deep` (crop and flip). Differs: the border is
reflected, not black, and nothing is padded in memory.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.draws import whole


def crop_and_flip(
    images: PixelImage, generator: torch.Generator, padding: int = 4, *, flip: bool = True
) -> PixelImage:
    """Shift each image by up to `padding` pixels both ways, reflected at the border, and mirror half of them.

    Args:
        images: Pixels of any kind; not changed.
        generator: Decides; one on the CPU gives the same crops for images on any device.
        padding: Largest shift in pixels; 0 leaves the images where they are.
        flip: Whether each image is mirrored left to right with probability one half.

    Returns:
        New images of the same shape on the same device.

    Raises:
        ValueError: If `padding` is negative or not smaller than the image.
    """
    batch, channel, height, width = images.shape
    if not 0 <= padding < min(height, width):
        raise ValueError(
            "padding must be at least 0 and smaller than the image, "
            f"but got {padding=} for {height}x{width} pixels."
        )
    down = whole(-padding, padding, (batch,), generator)
    right = whole(-padding, padding, (batch,), generator)
    rows, columns = _shifted(height, down), _shifted(width, right)
    if flip:
        is_mirrored = whole(0, 1, (batch,), generator).bool()
        columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
    places = rows[:, :, None] * width + columns[:, None, :]
    places = places.to(images.device).reshape(batch, 1, height * width).expand(-1, channel, -1)
    return images.reshape(batch, channel, height * width).gather(2, places).reshape(images.shape)


def _shifted(length: int, shift: Int[Tensor, " batch"]) -> Int[Tensor, "batch length"]:
    """Where each pixel of a shifted line is read from; beyond its ends the line runs backwards."""
    places = (torch.arange(length, device=shift.device) + shift[:, None]).abs()
    return length - 1 - (length - 1 - places).abs()
