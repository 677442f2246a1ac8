"""The middle of images, enlarged linearly to their old size."""

import math

import torch.nn.functional as F

from archaeology.core.shapes import Image


def zoomed(images: Image, factor: float) -> Image:
    """The middle 1 / `factor` of the images at their own size; corners of what is cut out stay corners.

    As `hendrycks2019benchmarking` cut and zoom (SciPy's `zoom` of order 1), on each side as it is, also where the
    sides differ.
    """
    sides = images.shape[-2:]
    cut = [math.ceil(side / factor) for side in sides]
    top, left = ((side - part) // 2 for side, part in zip(sides, cut, strict=True))
    part = images[..., top : top + cut[0], left : left + cut[1]]
    size = [round(length * factor) for length in cut]
    large = F.interpolate(part, size, mode="bilinear", align_corners=True)
    top, left = ((length - side) // 2 for length, side in zip(size, sides, strict=True))
    return large[..., top : top + sides[0], left : left + sides[1]]
