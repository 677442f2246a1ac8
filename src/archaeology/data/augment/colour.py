"""Colour jitter: brightness, contrast, saturation and hue changed a little, in an order of its own for each image."""

import torch

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.draws import real
from archaeology.data.augment.operations import OPERATIONS, operated


def colour(
    images: PixelImage,
    generator: torch.Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> PixelImage:
    """Change each image's colours by random amounts, as torchvision's `ColorJitter` changes one image.

    Args:
        images: Of one or three channels; not changed.
        generator: Decides; one on the CPU gives the same result for images on any device.
        brightness: The factor is drawn between 1 - `brightness`, at least 0, and 1 + `brightness`; 0 leaves it.
        contrast: Likewise.
        saturation: Likewise.
        hue: The colour circle is turned by up to this share of it, both ways; 0 to 0.5.

    Raises:
        ValueError: If an amount is negative or `hue` is above 0.5.
    """
    amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    if min(amounts.values()) < 0 or hue > 0.5:
        raise ValueError(f"amounts must be at least 0, hue at most 0.5, but got {amounts}.")
    active = {name: amount for name, amount in amounts.items() if amount > 0}
    if not active:
        return images
    ranges = {
        name: (-amount, amount) if name == "hue" else (max(0.0, 1 - amount), 1 + amount)
        for name, amount in active.items()
    }
    batch = len(images)
    strength = torch.stack([real(low, high, (batch,), generator) for low, high in ranges.values()], dim=1)
    turns = real(0.0, 1.0, (batch, len(active)), generator).argsort(dim=1)
    places = torch.tensor([OPERATIONS.index(name) for name in active], device=turns.device)
    for turn in turns.split(1, dim=1):
        images = operated(images, places[turn[:, 0]], strength.gather(1, turn)[:, 0])
    return images
