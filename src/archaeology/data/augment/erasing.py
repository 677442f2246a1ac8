"""Random erasing: a rectangle of each image is overwritten with noise, so no single part can be relied on.

After `zhong2020random`, with its ranges of areas and its random pixels. Differs: the logarithm of the aspect ratio is
uniform, not the ratio, so lying and standing rectangles are equally likely; and ten tries instead of endless ones.
"""

import math

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.draws import real

NUM_TRIES = 10


def erasing(
    images: PixelImage,
    generator: torch.Generator,
    probability: float = 0.5,
    *,
    area: tuple[float, float] = (0.02, 0.4),
    ratio: float = 10 / 3,
) -> PixelImage:
    """Overwrite a random rectangle with random levels, each pixel and channel on its own.

    Args:
        images: Pixels; not changed.
        generator: Decides; one on the CPU gives the same result for images on any device.
        probability: Share of the images that lose a rectangle; an image in which none of ten tries fits is spared.
        area: Least and largest share of the pixels.
        ratio: Height over width is between 1 / `ratio` and `ratio`.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not (0 <= probability <= 1 and 0 < area[0] <= area[1] <= 1 and ratio >= 1):
        raise ValueError(
            "probability must be between 0 and 1, area rising between 0 and 1, ratio at least 1, "
            f"but got {probability=}, {area=}, {ratio=}."
        )
    batch, channel, height, width = images.shape
    is_chosen = real(0.0, 1.0, (batch,), generator) < probability
    box, fits = _rectangles(batch, height, width, area, ratio, generator)
    chosen = (is_chosen & fits).nonzero()[:, 0]
    noise = _noise((len(chosen), channel, height, width), generator).to(images.device)
    inside = within(box[chosen].to(images.device), height, width)[:, None].to(torch.uint8)
    chosen = chosen.to(images.device)
    kept = images.index_select(0, chosen).mul_(1 - inside)
    return images.index_copy(0, chosen, noise.mul_(inside).add_(kept))


def within(box: Int[Tensor, "batch 4"], height: int, width: int) -> Bool[Tensor, "batch {height} {width}"]:
    """Which pixels lie in each box of top, bottom, left, right; bottom and right are just outside."""
    rows = torch.arange(height, device=box.device)
    columns = torch.arange(width, device=box.device)
    top, bottom, left, right = box[:, :, None].unbind(1)
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return in_rows[:, :, None] & in_columns[:, None, :]


def _rectangles(
    batch: int,
    height: int,
    width: int,
    area: tuple[float, float],
    ratio: float,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "batch 4"], Bool[Tensor, " batch"]]:
    """The first of ten rectangles that fits, and whether one did."""
    pixels = real(*area, (batch, NUM_TRIES), generator) * (height * width)
    shape = real(-math.log(ratio), math.log(ratio), (batch, NUM_TRIES), generator).exp()
    tall, wide = (pixels * shape).sqrt().round(), (pixels / shape).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    tall, wide = tall.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
    top = (real(0.0, 1.0, (batch,), generator) * (height - tall + 1)).floor()
    left = (real(0.0, 1.0, (batch,), generator) * (width - wide + 1)).floor()
    return torch.stack([top, top + tall, left, left + wide], dim=1).long(), fits.any(dim=1)


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> UInt8[Tensor, "batch channel height width"]:
    """Random bytes, drawn eight at a time."""
    size = math.prod(shape)
    words = torch.empty(-(-size // 8), dtype=torch.int64, device=generator.device)
    return words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:size].view(shape)
