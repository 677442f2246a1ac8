"""JPEG, there and back, for whole batches: only what changes pixels, not the coding into bits.

Colours become brightness and two colour differences, these at half the resolution (4:2:0); each block of 8 x 8 pixels
becomes cosines, whose strengths are rounded to multiples of what `wallace1992jpeg` suggests times a factor of the
quality; then all the way back. Every step is in whole numbers and rounds as libjpeg does, so that the pixels are those
of Pillow.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.shapes import Image

BRIGHTNESS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
COLOUR = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)

# Cosines of 0 to 7 half waves at the first four of eight pixels, times 8192 and (but the first) the root of 2. Those of
# libjpeg: here and there one off the nearest whole number, because they are sums of rounded ones. The other four pixels
# mirror these, with the opposite sign where half waves are odd.
COSINES = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)

Levels = Int[Tensor, "batch height width"]
Resized = Int[Tensor, "batch rows columns"]


def jpeg(images: Image, quality: int) -> Image:
    """Images as they come back from a JPEG file.

    Args:
        images: In [0, 1]; rounded to 8 bits first. Three channels, or one, which is all brightness.
        quality: 1 to 100, as in Pillow.

    Raises:
        ValueError: If the quality is none.

    References:
        `wallace1992jpeg`; whole-number details are libjpeg's (and so Pillow's).
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, but got {quality=}.")
    levels = (images * 255).round().to(torch.int32)
    brightness, colour = (
        _table(BRIGHTNESS, quality).to(images.device),
        _table(COLOUR, quality).to(images.device),
    )
    if images.shape[1] == 1:
        back = _through_cosines(levels[:, 0], brightness)[:, None]
    else:
        luma, blue, red = _to_differences(levels)
        luma = _through_cosines(luma, brightness)
        size = (images.shape[2], images.shape[3])
        blue, red = (_doubled(_through_cosines(_halved(part), colour), size) for part in (blue, red))
        back = _to_colours(luma, blue, red)
    return back.to(images.dtype) / 255


def _table(base: tuple[tuple[int, ...], ...], quality: int) -> Int[Tensor, "8 8"]:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(base) * percent + 50) // 100).clamp(1, 255)


def _to_differences(levels: Int[Tensor, "batch 3 height width"]) -> tuple[Levels, Levels, Levels]:
    """Brightness, and how much bluer and redder than grey, around 128; in 65536ths, rounded."""
    red, green, blue = levels.unbind(1)
    half, middle = 1 << 15, (128 << 16) + (1 << 15) - 1
    return (
        (19595 * red + 38470 * green + 7471 * blue + half) >> 16,
        (-11059 * red - 21709 * green + 32768 * blue + middle) >> 16,
        (32768 * red - 27439 * green - 5329 * blue + middle) >> 16,
    )


def _to_colours(luma: Levels, blue: Levels, red: Levels) -> Int[Tensor, "batch 3 height width"]:
    half, blue, red = 1 << 15, blue - 128, red - 128
    colours = (
        luma + ((91881 * red + half) >> 16),
        luma + ((-22554 * blue - 46802 * red + half) >> 16),
        luma + ((116130 * blue + half) >> 16),
    )
    return torch.stack(colours, dim=1).clamp(0, 255)


def _halved(levels: Levels) -> Resized:
    """Means of 2 x 2 pixels, of whole blocks in width; halves are rounded down in even columns and up in odd ones."""
    height, width = levels.shape[1:]
    even = _grown(levels, (height + height % 2, 16 * -(-width // 16)))
    total = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    return (total + 1 + torch.arange(total.shape[2], device=levels.device, dtype=levels.dtype) % 2) >> 2


def _doubled(levels: Levels, size: tuple[int, int]) -> Resized:
    """Twice the size: each new pixel lies nearer to one old pixel (3/4) than to the next (1/4), in both directions."""
    levels = levels[:, :, : -(-size[1] // 2)]
    around = F.pad(levels[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0].to(levels.dtype)
    tall = torch.stack(
        [3 * around[:, 1:-1] + around[:, :-2], 3 * around[:, 1:-1] + around[:, 2:]], dim=2
    ).flatten(1, 2)
    left, right = (
        (3 * tall[..., 1:-1] + tall[..., :-2] + 8) >> 4,
        (3 * tall[..., 1:-1] + tall[..., 2:] + 7) >> 4,
    )
    return torch.stack([left, right], dim=3).flatten(2, 3)[:, : size[0], : size[1]]


def _grown(levels: Levels, size: tuple[int, int]) -> Resized:
    """The last row and column are repeated."""
    rows = torch.arange(size[0], device=levels.device).clamp(max=levels.shape[1] - 1)
    columns = torch.arange(size[1], device=levels.device).clamp(max=levels.shape[2] - 1)
    return levels[:, rows[:, None], columns]


def _through_cosines(levels: Levels, table: Int[Tensor, "8 8"]) -> Levels:
    """Blocks of 8 x 8 pixels to cosines, rounded to multiples of the table, and back."""
    batch, height, width = levels.shape
    rows, columns = -(-height // 8), -(-width // 8)
    blocks = _grown(levels, (8 * rows, 8 * columns)).view(batch, rows, 8, columns, 8).transpose(2, 3)
    half = torch.tensor(COSINES, dtype=torch.float64, device=levels.device)
    cosines = torch.cat([half, half.flip(1) * half.new_tensor([1, -1] * 4)[:, None]], dim=1)
    # Whole numbers throughout, below 2 ** 53, which double precision holds exactly.
    along = _rounded((blocks.double() - 128) @ cosines.T / 2**11)
    strength = _rounded(cosines @ along / 2**15)  # in eighths
    strength = ((strength.abs() + 4 * table) / (8 * table)).floor().copysign(strength) * table
    along = _rounded(cosines.T @ strength / 2**11)
    back = _rounded(along @ cosines / 2**18) + 128
    back = back.clamp(0, 255).to(levels.dtype).transpose(2, 3).reshape(batch, 8 * rows, 8 * columns)
    return back[:, :height, :width]


def _rounded(numbers: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The nearest whole numbers, halves upwards."""
    return (numbers + 0.5).floor()
