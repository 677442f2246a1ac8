"""Changes that look at one grey level at a time, written as tables: what becomes of level 0, 1, ... 255.

A table has 256 entries where an image has thousands of pixels, so working out the table costs next to nothing, and
one look-up serves all images of a batch, whatever happens to each. The tables are those of Pillow (`ImageEnhance`,
`ImageOps`), entry for entry, on every device.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from archaeology.core.shapes import Image, PixelImage

Table = UInt8[Tensor, "batch #channel 256"]
"""The channel axis is 1 where all channels share a table."""


def looked_up(images: PixelImage, tables: Table) -> PixelImage:
    """Every pixel replaced by its entry in the table of its image (and channel)."""
    batch, channel, height, width = images.shape
    levels = images.reshape(batch, channel, height * width).long()
    return tables.expand(-1, channel, -1).gather(2, levels).reshape(images.shape)


def brightness(images: PixelImage, factor: Float[Tensor, " batch"]) -> Table:
    """0 is black, 1 changes nothing, 2 is twice as bright."""
    return _away_from(torch.zeros(len(images), dtype=torch.int64, device=images.device), factor)


def contrast(images: PixelImage, factor: Float[Tensor, " batch"]) -> Table:
    """0 is the image's mean grey everywhere, 1 changes nothing, above 1 moves away from it."""
    levels = grey(images.float())
    count = max(1, levels[0].numel()) if len(levels) else 1
    total = levels.sum((1, 2, 3), dtype=torch.int64)
    return _away_from((2 * total + count) // (2 * count), factor)


def posterize(images: PixelImage, bits: Float[Tensor, " batch"]) -> Table:
    """Keep the `bits` highest bits of each pixel, 0 to 8."""
    kept = 256 - (1 << (8 - bits.int().to(images.device)))
    return (_levels(images) & kept[:, None, None]).to(torch.uint8)


def solarize(images: PixelImage, threshold: Float[Tensor, " batch"]) -> Table:
    """Turn levels at or above `threshold` (0 to 256) into their negative."""
    levels = _levels(images)
    first = threshold.ceil().int().to(images.device)[:, None, None]
    return torch.where(levels < first, levels, 255 - levels).to(torch.uint8)


def autocontrast(images: PixelImage, _: Float[Tensor, " batch"] | None = None) -> Table:
    """Stretch each channel until its darkest pixel is 0 and its brightest 255; one flat level stays as it is."""
    flat = images.flatten(2)
    low, high = flat.amin(2, keepdim=True).double(), flat.amax(2, keepdim=True).double()
    scale = torch.full_like(low, 255.0) / (high - low)  # a plain 255.0 would be multiplied by the reciprocal
    levels = _levels(images)
    offset = -low * scale
    stretched = (levels * scale).add_(offset).clamp_(0, 255)  # two roundings, as Pillow's, so the same levels
    return torch.where(high > low, stretched, levels.double()).to(torch.uint8)


def equalize(images: PixelImage, _: Float[Tensor, " batch"] | None = None) -> Table:
    """Spread the levels of each channel so that each is about as frequent; few pixels of one level stay as they are."""
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, pixels, torch.ones_like(counts[:, :, :1]).expand_as(pixels))
    up_to = counts.cumsum(2, dtype=torch.int32)
    brightest = images.flatten(2).amax(2, keepdim=True).long()
    step = (pixels.shape[2] - counts.gather(2, brightest)) // 255
    spread = (up_to - counts + step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    return torch.where(step > 0, spread, _levels(images)).to(torch.uint8)


def grey(levels: Image) -> Float[Tensor, "batch 1 height width"]:
    """Brightness of each pixel as the eye weighs it (ITU-R 601), rounded.

    Every number on the way is whole and below 2**24, so single precision is exact on every device.

    Args:
        levels: Whole numbers from 0 to 255, of one or three channels.
    """
    if levels.shape[1] == 1:
        return levels
    red, green, blue = levels.split(1, dim=1)
    weighed = (red * 19595).add_(green, alpha=38470).add_(blue, alpha=7471)
    return weighed.add_(1 << 15).div_(1 << 16).floor_()


def _levels(images: PixelImage) -> Int[Tensor, "256"]:
    return torch.arange(256, dtype=torch.int32, device=images.device)


def _away_from(base: Int[Tensor, " batch"], factor: Float[Tensor, " batch"]) -> Table:
    """Levels moved away from `base` (factor above 1) or towards it (below 1)."""
    levels = torch.arange(256, device=base.device)
    difference = (levels - base[:, None, None]).float()
    scaled = difference.mul_(factor.float().to(base.device)[:, None, None])
    return scaled.add_(base[:, None, None]).clamp_(0, 255).to(torch.uint8)
