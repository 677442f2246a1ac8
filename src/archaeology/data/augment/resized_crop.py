"""Small and large looks at the same picture: a rectangle of each image, somewhere, stretched to one size.

After `szegedy2015going`, as torchvision's `RandomResizedCrop` draws it, different for each image of a batch. Differs:
pixels are read by bilinear interpolation alone, so a rectangle much larger than the result would alias; and where ten
tries find no rectangle that fits, torchvision takes the middle, we take the last one, cut to the image.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.draws import real, whole


def resized_crop(
    images: PixelImage,
    generator: torch.Generator,
    size: int,
    *,
    share: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: bool = True,
) -> UInt8[Tensor, "batch channel {size} {size}"]:
    """A random rectangle of each image, stretched to `size` x `size` pixels; half of them mirrored.

    Args:
        images: 8 bit; not changed.
        generator: Decides; one on the CPU gives the same crops for images on any device.
        size: Side of the result in pixels.
        share: Least and largest area of the rectangle, as a share of the image's.
        ratio: Least and largest width over height.
        flip: Whether each crop is mirrored left to right with probability one half.

    Raises:
        ValueError: If the shares do not lie in (0, 1], or a range runs backwards.
    """
    if not 0 < share[0] <= share[1] <= 1 or not 0 < ratio[0] <= ratio[1] or size < 1:
        raise ValueError(
            "share must be a range in (0, 1], ratio one above 0 and size at least 1, but got "
            f"{share=}, {ratio=}, {size=}."
        )
    batch = len(images)
    area = real(*share, (batch,), generator)
    shape = real(math.log(ratio[0]), math.log(ratio[1]), (batch,), generator).exp()
    width, height = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
    x, y = (real(0.0, 1.0, (batch,), generator) * (1 - side) for side in (width, height))
    middle_x, middle_y = 2 * x + width - 1, 2 * y + height - 1  # -1 is the left or upper edge, 1 the other
    if flip:
        width = width * (1 - 2 * whole(0, 1, (batch,), generator))
    maps = torch.stack(
        [
            torch.stack([width, torch.zeros_like(x), middle_x], dim=1),
            torch.stack([torch.zeros_like(x), height, middle_y], dim=1),
        ],
        dim=1,
    )
    return _read(images, maps.float().to(images.device), size)


def _read(
    images: PixelImage, maps: Float[Tensor, "batch 2 3"], size: int
) -> UInt8[Tensor, "batch channel {size} {size}"]:
    grid = F.affine_grid(maps, [*images.shape[:2], size, size], align_corners=False)
    read = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    return read.round_().clamp_(0, 255).to(torch.uint8)
