"""Changes that need more than one number of a pixel or its neighbourhood: saturation, sharpness, hue.

Saturation and sharpness are Pillow's (`ImageEnhance`), level for level. Every step is a rounding of its own, none
fused, so that all devices agree.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.levels import grey


def saturation(images: PixelImage, factor: Float[Tensor, " batch"]) -> PixelImage:
    """0 is grey, 1 changes nothing, above 1 is more colourful; images of one channel stay as they are."""
    if images.shape[1] == 1:
        return images
    levels = images.float()
    return _away_from(grey(levels), levels, factor)


def sharpness(images: PixelImage, factor: Float[Tensor, " batch"]) -> PixelImage:
    """0 is smoothed, 1 changes nothing, above 1 is sharper; the outermost pixels stay as they are."""
    if min(images.shape[2:]) < 3:
        return images
    result = images.clone()
    inner = images[:, :, 1:-1, 1:-1].float()
    result[:, :, 1:-1, 1:-1] = _away_from(_smoothed(images), inner, factor)
    return result


def hue(images: PixelImage, turn: Float[Tensor, " batch"]) -> PixelImage:
    """Turn the colour circle, keeping the brightest and the dullest channel's levels; 1 is once around.

    One grey level from torchvision's `adjust_hue` at most: rounded to the nearest level, not down.
    """
    if images.shape[1] == 1:
        return images
    levels = images.float()
    red, green, blue = levels.split(1, dim=1)
    highest = torch.maximum(torch.maximum(red, green), blue)
    chroma = highest - torch.minimum(torch.minimum(red, green), blue)
    safe = chroma.clamp(min=1)
    sextant = torch.where(
        highest == red,
        (green - blue).div_(safe),
        torch.where(highest == green, (blue - red).div_(safe).add_(2), (red - green).div_(safe).add_(4)),
    )
    sextant += 6 * turn.float().to(images.device)[:, None, None, None]
    distance = sextant + levels.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    distance -= (distance / 6).floor_().mul_(6)
    dip = (
        distance.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)
    )  # 0 where the channel is highest, 1 where lowest
    return dip.mul_(chroma).sub_(highest).neg_().round_().to(torch.uint8)


def _smoothed(images: PixelImage) -> Float[Tensor, "batch channel rows columns"]:
    """Mean of the 3 x 3 pixels around each inner one, itself counted five times, rounded; no sum lies on a half."""
    around = images.to(torch.int16)
    rows = around[:, :, :-2] + around[:, :, 1:-1] + around[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * around[:, :, 1:-1, 1:-1]
    return total.float().div_(13).round_()


def _away_from(
    base: Float[Tensor, "batch _ height width"],
    levels: Float[Tensor, "batch channel height width"],
    factor: Float[Tensor, " batch"],
) -> PixelImage:
    """`levels`, overwritten, moved away from `base` (factor above 1) or towards it (below 1), rounded down."""
    scaled = levels.sub_(base).mul_(factor.float().to(base.device)[:, None, None, None])
    return scaled.add_(base).clamp_(0, 255).to(torch.uint8)
