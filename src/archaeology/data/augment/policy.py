"""RandAugment and TrivialAugment: a few of fourteen changes for each image, drawn blindly, no search.

After `cubuk2020randaugment` (two changes of a strength that is fixed in advance) and
`muller2021trivialaugment` (one change, its strength drawn too, the wide ranges). Ranges and their 31 steps are
torchvision's, pixels Pillow's with the nearest pixel and black outside, as the authors had. Differs: batched.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.draws import whole
from archaeology.data.augment.geometry import Size
from archaeology.data.augment.operations import OPERATIONS, Strength, operated

NUM_LEVELS = 31
DRAWN = OPERATIONS[: OPERATIONS.index("hue")]  # the policies know no change of hue
FACTORS = ("brightness", "contrast", "saturation", "sharpness")  # 1 changes nothing


@dataclass(frozen=True)
class Reach:
    """How far each change goes at full strength.

    Attributes:
        slope: Of shears, in pixels per pixel.
        columns: Of shifts to the side, in pixels.
        rows: Of shifts up and down, in pixels.
        degrees: Of turns.
        factor: How far brightness, contrast, saturation and sharpness go from 1.
        bits: How many posterizing takes away.
    """

    slope: float
    columns: float
    rows: float
    degrees: float
    factor: float
    bits: int


WIDE = Reach(slope=0.99, columns=32.0, rows=32.0, degrees=135.0, factor=0.99, bits=6)


def reach_of_rand_augment(size: Size) -> Reach:
    """Shifts are shares of the image, 150 pixels of the 331 they were chosen for."""
    height, width = size
    share = 150.0 / 331.0
    return Reach(slope=0.3, columns=share * width, rows=share * height, degrees=30.0, factor=0.9, bits=4)


def rand_augment(
    images: PixelImage, generator: torch.Generator, num_ops: int = 2, magnitude: int = 9
) -> PixelImage:
    """Change each image `num_ops` times, each time by one of the fourteen operations.

    Args:
        images: Of one or three channels; not changed.
        generator: Decides; one on the CPU gives the same result for images on any device.
        num_ops: How many changes one after another; 0 leaves the images as they are.
        magnitude: Strength of all changes, 0 (least) to 30 (most); which way they go is drawn.

    Raises:
        ValueError: If an argument is out of range.
    """
    if num_ops < 0:
        raise ValueError(f"num_ops must be at least 0, but got {num_ops=}.")
    if not 0 <= magnitude < NUM_LEVELS:
        raise ValueError(f"magnitude must be a step from 0 to {NUM_LEVELS - 1}, but got {magnitude=}.")
    reach = reach_of_rand_augment((images.shape[2], images.shape[3]))
    for _ in range(num_ops):
        operation = whole(0, len(DRAWN) - 1, (len(images),), generator)
        is_negative = whole(0, 1, (len(images),), generator).bool()
        level = torch.full_like(operation, magnitude)
        images = operated(images, operation, strengths(reach, operation, level, is_negative))
    return images


def trivial_augment(images: PixelImage, generator: torch.Generator) -> PixelImage:
    """Change each image once, by one of the fourteen operations at a strength drawn from the wide range.

    Args:
        images: Of one or three channels; not changed.
        generator: Decides; one on the CPU gives the same result for images on any device.
    """
    operation = whole(0, len(DRAWN) - 1, (len(images),), generator)
    is_negative = whole(0, 1, (len(images),), generator).bool()
    level = whole(0, NUM_LEVELS - 1, (len(images),), generator)
    return operated(images, operation, strengths(WIDE, operation, level, is_negative))


def strengths(
    reach: Reach,
    operation: Int[Tensor, " batch"],
    level: Int[Tensor, " batch"],
    is_negative: Bool[Tensor, " batch"],
) -> Strength:
    """What the operations take at these levels, 0 (least) to 30 (most); the sign counts where there are two ways."""
    steps, offsets, has_two_ways = (part.to(operation.device) for part in _steps(reach))
    step = steps[operation, level]
    return torch.where(is_negative & has_two_ways[operation], -step, step) + offsets[operation]


@lru_cache(maxsize=64)
def _steps(reach: Reach) -> tuple[Tensor, Tensor, Tensor]:
    """Steps [operation level], what is added to them, and whether a sign may come between, [operation]."""
    full = {
        "shear_x": reach.slope,
        "shear_y": reach.slope,
        "translate_x": reach.columns,
        "translate_y": reach.rows,
        "rotate": reach.degrees,
        **dict.fromkeys(FACTORS, reach.factor),
    }
    # In single precision, as torchvision has them: whether a shift is 15.9999 or 16 pixels is a pixel's difference.
    rising = {name: torch.linspace(0.0, most, NUM_LEVELS).double() for name, most in full.items()}
    taken = torch.arange(NUM_LEVELS) / ((NUM_LEVELS - 1) / reach.bits)
    rising["posterize"] = (8 - taken).round().double()
    rising["solarize"] = 255.0 * torch.linspace(1.0, 0.0, NUM_LEVELS).double()
    nothing = torch.zeros(NUM_LEVELS, dtype=torch.float64)
    return (
        torch.stack([rising.get(name, nothing) for name in OPERATIONS]),
        torch.tensor([float(name in FACTORS) for name in OPERATIONS], dtype=torch.float64),
        torch.tensor([name in full for name in OPERATIONS]),
    )
