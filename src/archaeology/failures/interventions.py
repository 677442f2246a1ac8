"""Change one thing of an image and leave the rest: only then does a changed answer show what it depended on.

Light is added, contrast stretched about the mean, colour drawn away from grey, each by just as much as makes the image
have the wanted value; pixels of one place are pasted. As large a change the other way is often out of reach (what is
black cannot be darkened), so how far it goes is told.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.core.shapes import Image
from archaeology.failures.attributes import brightness, contrast, luma, saturation

HALVINGS = 24
AS_LARGE = 0.9  # share of a change that must be reached the other way to be called as large
MOVES = 1e-3  # changes of an attribute below this are none

Amount = Float[Tensor, " batch"]
Change = tuple[Callable[[Image, Amount], Image], Callable[[Image], Amount], tuple[float, float]]

changes: Registry[Change] = Registry("attribute that can be set")


def _lit(images: Image, amount: Amount) -> Image:
    return (images + amount[:, None, None, None]).clamp(0, 1)


def _stretched(images: Image, amount: Amount) -> Image:
    middle = luma(images).mean(dim=(1, 2))[:, None, None, None]
    return (middle + amount[:, None, None, None] * (images - middle)).clamp(0, 1)


def _coloured(images: Image, amount: Amount) -> Image:
    grey = luma(images)[:, None]
    return (grey + amount[:, None, None, None] * (images - grey)).clamp(0, 1)


changes.register("brightness")((_lit, brightness, (-1.0, 1.0)))
changes.register("contrast")((_stretched, contrast, (0.0, 20.0)))
changes.register("saturation")((_coloured, saturation, (0.0, 20.0)))


def set_attribute(name: str, images: Image, wanted: Float[Tensor, " _"]) -> Image:
    """The images with brightness, contrast or saturation at these values, or as near as they can come.

    Args:
        name: Of `changes`.
        images: In [0, 1].
        wanted: One value for each image.

    Raises:
        UnknownNameError: If it cannot be set; suggests the nearest.
        ValueError: If there is not one value for each image.
    """
    change, measure, (least, most) = changes.get(name)
    if len(images) != len(wanted):
        raise ValueError(f"there must be one value for each image, but got {len(wanted)} for {len(images)}.")
    low, high = torch.full_like(wanted, least), torch.full_like(wanted, most)
    for _ in range(HALVINGS):  # all three grow with the amount, so the amount is found by halving
        middle = (low + high) / 2
        is_less = measure(change(images, middle)) < wanted
        low, high = torch.where(is_less, middle, low), torch.where(is_less, high, middle)
    return change(images, (low + high) / 2)


def the_other_way(
    name: str, images: Image, own: Float[np.ndarray, " _"], wanted: Float[np.ndarray, " _"]
) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]:
    """Values as far on the other side of what each image has as the images can come, and how far that is.

    Args:
        name: Of `changes`.
        images: In [0, 1].
        own: Value of each image.
        wanted: Value that it is to be given.

    Returns:
        The values, and the share of the change to `wanted` (or as near as that can come) that is reached, 0 to 1; NaN
        where the image can hardly be changed to `wanted` at all.
    """
    change, measure, (least, most) = changes.get(name)
    low, high = (
        measure(change(images, torch.full((len(images),), end))).double().numpy() for end in (least, most)
    )
    step = np.clip(wanted, low, high) - own
    back = np.clip(own - step, low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        reached = np.where(np.abs(step) > MOVES, np.clip((own - back) / step, 0, 1), np.nan)
    return back, reached


def pasted(
    images: Image, pixels: Float[Tensor, "#batch channel height width"], where: Bool[Tensor, "height width"]
) -> Image:
    """The images with these pixels in that place."""
    return torch.where(where, pixels.to(images.dtype), images)
