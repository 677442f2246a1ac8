"""Every image gets the same size: scaled until it just covers the frame, then its middle is cut out."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from archaeology.core.framing import Box, Framing
from archaeology.data.source import Sample


def framed(
    sample: Sample, size: tuple[int, int], crop_fraction: float
) -> tuple[UInt8[np.ndarray, "channel height width"], Box, np.ndarray | None]:
    """The sample's image, box and mask, brought to `size` by antialiased bicubic (mask: nearest) sampling.

    Raises:
        ValueError: If the image is so long and thin that scaling it would fill the memory.
    """
    _, height, width = sample.image.shape
    framing = Framing(height, width, size, crop_fraction)
    if framing.is_identity:
        return sample.image.numpy(), framing.box(sample.box), _mask(sample, None)
    framing.check(Image.MAX_IMAGE_PIXELS or None)
    pixels = Image.fromarray(sample.image.permute(1, 2, 0).contiguous().numpy())
    resized = np.asarray(framing.apply(pixels, Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    return resized, framing.box(sample.box), _mask(sample, framing)


def _mask(sample: Sample, framing: Framing | None) -> np.ndarray | None:
    if sample.mask is None or framing is None:
        return None if sample.mask is None else sample.mask.numpy()
    as_image = Image.fromarray(sample.mask.numpy().astype(np.uint8))
    return np.asarray(framing.apply(as_image, Image.Resampling.NEAREST)).astype(bool)
