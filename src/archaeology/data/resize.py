"""Every image gets the same size: scaled until it just covers the frame, then its middle is cut out."""

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from archaeology.data.source import Sample

Box = tuple[float, float, float, float]
NO_BOX: Box = (math.nan, math.nan, math.nan, math.nan)


class Framing:
    """How an image of one size is brought to another: scaled to `scaled`, then cut at `left`, `top`.

    The numbers are those of torchvision's `Resize` followed by `CenterCrop`, so that published models see
    what they were trained to see; a frame that is not square is covered in both directions.
    """

    def __init__(self, height: int, width: int, size: tuple[int, int], crop_fraction: float) -> None:
        """Plan for an image of `height` x `width` pixels and a frame of `size` (height, width)."""
        self.size = size
        frame_height, frame_width = (math.floor(side / crop_fraction) for side in size)
        if frame_height * width <= frame_width * height:  # the width decides
            self.scaled = max(int(frame_width * height / width), frame_height), frame_width
        else:
            self.scaled = frame_height, max(int(frame_height * width / height), frame_width)
        self.scale = self.scaled[0] / height, self.scaled[1] / width
        self.is_identity = self.scaled == (height, width) == size
        self.top = round((self.scaled[0] - size[0]) / 2)
        self.left = round((self.scaled[1] - size[1]) / 2)

    def apply(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """`image` in its frame."""
        if self.scaled != (image.height, image.width):
            image = image.resize((self.scaled[1], self.scaled[0]), resample)
        return image.crop((self.left, self.top, self.left + self.size[1], self.top + self.size[0]))

    def box(self, box: Box | None) -> Box:
        """`box` in pixels of the frame, cut at its border; NaN where it is unknown, empty or cropped away."""
        if box is None:
            return NO_BOX
        x_min, x_max = (min(max(x * self.scale[1] - self.left, 0.0), self.size[1]) for x in (box[0], box[2]))
        y_min, y_max = (min(max(y * self.scale[0] - self.top, 0.0), self.size[0]) for y in (box[1], box[3]))
        return (x_min, y_min, x_max, y_max) if x_max > x_min and y_max > y_min else NO_BOX


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
    if math.prod(framing.scaled) > (limit := Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(
            f"it is {height}x{width} pixels, so long and thin that covering {size[0]}x{size[1]} "
            f"needs over {limit:,} pixels"
        )
    pixels = Image.fromarray(sample.image.permute(1, 2, 0).contiguous().numpy())
    resized = np.asarray(framing.apply(pixels, Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    return resized, framing.box(sample.box), _mask(sample, framing)


def _mask(sample: Sample, framing: Framing | None) -> np.ndarray | None:
    if sample.mask is None or framing is None:
        return None if sample.mask is None else sample.mask.numpy()
    as_image = Image.fromarray(sample.mask.numpy().astype(np.uint8))
    return np.asarray(framing.apply(as_image, Image.Resampling.NEAREST)).astype(bool)
