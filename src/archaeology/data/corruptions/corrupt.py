"""Corrupt a batch of images: one call for any of the common corruptions at any of five severities.

After `hendrycks2019benchmarking`, whose strengths for CIFAR-10-C and ImageNet-C are used as published. Differs: tensor
operations on whole batches and on any device, floats in [0, 1] that are not rounded to 8 bits (but where the
corruption itself rounds, as JPEG does), and randomness that belongs to the image.
"""

import torch

from archaeology.core.shapes import Image, PixelImage
from archaeology.data.corruptions.corruption import SEVERITIES, corruptions
from archaeology.data.corruptions.draws import draws_for

SMALLEST = 32  # pixels


def corrupt(images: Image | PixelImage, name: str, severity: int, *, seed: int = 0) -> Image:
    """Images as they look after one corruption.

    Strengths are those published for 32 pixels where the shorter side has at most 84 pixels, else those for 224.

    Args:
        images: Floats in [0, 1] or 8 bit, of one or three channels, at least 32 pixels high and wide; not changed.
        name: One of `corruptions`, for example "fog".
        severity: 1 (mild) to 5 (severe).
        seed: Of what is random; each image has draws of its own, the same alone, in any batch and at any severity.

    Returns:
        New images in [0, 1] of the same shape, on the same device, in the same precision (single if 8 bit came).

    Raises:
        UnknownNameError: If there is no such corruption.
        ValueError: If the images or the severity do not fit.
    """
    chosen = corruptions.get(name)
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be 1, 2, 3, 4 or 5, but got {severity=}.")
    unit = _checked(images)
    working = unit if unit.dtype in (torch.float32, torch.float64) else unit.float()
    draws = draws_for(working, name, seed)
    strength = chosen.strength(severity, min(images.shape[-2:]))
    with torch.no_grad():
        return chosen.operation(working, draws, **strength).clamp(0, 1).to(unit.dtype)


def _checked(images: Image | PixelImage) -> Image:
    batch, channel, height, width = images.shape if images.ndim == 4 else (0, 0, 0, 0)
    if batch == 0 or channel not in (1, 3) or min(height, width) < SMALLEST:
        raise ValueError(
            f"images must be (batch, 1 or 3, height, width), at least one, and at least {SMALLEST} pixels high and "
            f"wide, but got shape {tuple(images.shape)}; enlarge small images first."
        )
    unit = images.float() / 255 if images.dtype == torch.uint8 else images.detach()
    low, high = (float(edge) for edge in unit.aminmax())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # also false for NaN
        raise ValueError(
            f"images must lie in [0, 1] (or be uint8), but got values from {low:.3g} to {high:.3g}; divide by 255."
        )
    return unit.clamp(0, 1)
