"""What can be said of an image in one number: how bright it is, how sharp, where its object lies.

Failures that share such a number may share a cause, so each is measured for every image, in its own unit, from the
pixels alone (or from a box or mask where the data have one).

Sources: `pech2000diatom` for sharpness as the variance of the Laplacian; Rec. 601 luma for grey.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.core.shapes import Image
from archaeology.data.decoded import DecodedImages

LUMA = (0.299, 0.587, 0.114)
EDGE = 0.5  # length of Sobel's gradient (4 where black meets white in a straight line) that counts as an edge
CHUNK = 256

Values = Float[np.ndarray, " image"]


@dataclass(frozen=True)
class Seen:
    """Some images and where their objects are.

    Attributes:
        images: RGB in [0, 1].
        boxes: x_min, y_min, x_max, y_max in pixels, NaN where unknown; None if no image has one.
        masks: True on the object, False everywhere where unknown; None if no image has one.
    """

    images: Image
    boxes: Float[Tensor, "batch 4"] | None = None
    masks: Bool[Tensor, "batch height width"] | None = None


@dataclass(frozen=True)
class Attribute:
    """One number of an image.

    Attributes:
        name: As in the registry.
        title: What people call it.
        low_words: What an image with a low value is, as in "dark".
        high_words: Likewise with a high one.
        unit: Unit and range.
        measure: One value for each image; NaN where the image has none.
        needs_object: Whether it needs a box or a mask.
    """

    name: str
    title: str
    low_words: str
    high_words: str
    unit: str
    measure: Callable[[Seen], Float[Tensor, " batch"]]
    needs_object: bool = False


attributes: Registry[Attribute] = Registry("attribute")


def luma(images: Image) -> Float[Tensor, "batch height width"]:
    """Grey as people see it, 0 to 1."""
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("bchw,c->bhw", images, weights)


def brightness(images: Image) -> Float[Tensor, " batch"]:
    """Mean luma, 0 (black) to 1 (white)."""
    return luma(images).mean(dim=(1, 2))


def contrast(images: Image) -> Float[Tensor, " batch"]:
    """Standard deviation of luma over the pixels, 0 (one grey) to 0.5 (half black, half white)."""
    return luma(images).std(dim=(1, 2), correction=0)


def saturation(images: Image) -> Float[Tensor, " batch"]:
    """Mean of largest less smallest channel, 0 (grey) to 1 (pure colours)."""
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))


def sharpness(images: Image) -> Float[Tensor, " batch"]:
    """Variance of the Laplacian of luma over the inner pixels, from 0 (no detail); no upper end that matters."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=images.dtype, device=images.device)
    return F.conv2d(luma(images)[:, None], kernel[None, None]).var(dim=(1, 2, 3), correction=0)


def edge_density(images: Image) -> Float[Tensor, " batch"]:
    """Share of the inner pixels where Sobel's gradient of luma is longer than 0.5, 0 to 1."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=images.dtype, device=images.device)
    slopes = F.conv2d(luma(images)[:, None], torch.stack([kernel, kernel.T])[:, None])
    return (slopes.square().sum(dim=1).sqrt() > EDGE).to(images.dtype).mean(dim=(1, 2))


def object_size(seen: Seen) -> Float[Tensor, " batch"]:
    """Share of the image inside the mask, or else inside the box, 0 to 1; NaN where neither is known."""
    height, width = seen.images.shape[-2:]
    found = torch.full((len(seen.images),), torch.nan, device=seen.images.device)
    if seen.boxes is not None:
        left, top, right, bottom = _clipped(seen.boxes, height, width).unbind(dim=1)
        found = (right - left) * (bottom - top) / (height * width)
    if seen.masks is not None:
        covered = seen.masks.float().mean(dim=(1, 2))
        found = torch.where(covered > 0, covered, found)
    return found


def object_place(seen: Seen) -> Float[Tensor, " batch"]:
    """Distance of the object's middle from that of the image, 0 (centre) to 1 (corner); NaN where unknown."""
    height, width = seen.images.shape[-2:]
    found = torch.full((len(seen.images), 2), torch.nan, device=seen.images.device)
    if seen.boxes is not None:
        left, top, right, bottom = _clipped(seen.boxes, height, width).unbind(dim=1)
        found = torch.stack([(left + right) / 2, (top + bottom) / 2], dim=1)
    if seen.masks is not None:
        weight = seen.masks.float()
        total = weight.sum(dim=(1, 2))
        across = (weight.sum(dim=1) * (torch.arange(width, device=weight.device) + 0.5)).sum(dim=1)
        down = (weight.sum(dim=2) * (torch.arange(height, device=weight.device) + 0.5)).sum(dim=1)
        middle = torch.stack([across, down], dim=1) / total.clamp(min=1)[:, None]
        found = torch.where((total > 0)[:, None], middle, found)
    off = found - torch.tensor([width / 2, height / 2], device=found.device)
    return off.norm(dim=1) / (0.5 * float(np.hypot(width, height)))


def _clipped(boxes: Float[Tensor, "batch 4"], height: int, width: int) -> Float[Tensor, "batch 4"]:
    edges = torch.tensor([width, height, width, height], dtype=torch.float32, device=boxes.device)
    return torch.minimum(boxes.float().clamp(min=0), edges)  # NaN stays NaN


def _of_pixels(
    measure: Callable[[Image], Float[Tensor, " batch"]],
) -> Callable[[Seen], Float[Tensor, " batch"]]:
    return lambda seen: measure(seen.images)


for _one in (
    Attribute("brightness", "brightness", "dark", "bright", "mean luma, 0 to 1", _of_pixels(brightness)),
    Attribute(
        "contrast", "contrast", "flat", "rich in contrast", "standard deviation of luma, 0 to 0.5",
        _of_pixels(contrast),
    ),
    Attribute(
        "saturation", "colour saturation", "grey", "colourful", "mean of largest less smallest channel, 0 to 1",
        _of_pixels(saturation),
    ),
    Attribute(
        "sharpness", "sharpness", "blurred", "sharp", "variance of the Laplacian of luma, 0 and up",
        _of_pixels(sharpness),
    ),
    Attribute(
        "edge_density", "density of edges", "smooth", "full of edges", "share of pixels on an edge, 0 to 1",
        _of_pixels(edge_density),
    ),
    Attribute(
        "object_size", "size of the object", "small in the picture", "large in the picture",
        "share of the image, 0 to 1", object_size, needs_object=True,
    ),
    Attribute(
        "object_place", "place of the object", "central", "off the centre",
        "distance from the centre, 0 to 1 (a corner)", object_place, needs_object=True,
    ),
):  # fmt: skip
    attributes.register(_one.name)(_one)


def measured_attributes(images: DecodedImages) -> dict[str, Values]:
    """Every registered attribute of every image, by name; those of objects only where some image has a box or mask.

    Raises:
        ValueError: If there is no image.
    """
    return attributes_of(images.images, boxes=images.boxes, masks=images.masks)


def attributes_of(
    images: UInt8[np.ndarray, "image channel height width"],
    *,
    boxes: Float[np.ndarray, "image 4"] | None = None,
    masks: Bool[np.ndarray, "image height width"] | None = None,
) -> dict[str, Values]:
    """As `measured_attributes`, of arrays.

    Raises:
        ValueError: If there is no image.
    """
    if len(images) == 0:
        raise ValueError("attributes need at least one image, but got none.")
    has_object = boxes is not None or masks is not None
    asked = [attributes.get(name) for name in attributes]
    asked = [one for one in asked if has_object or not one.needs_object]
    found: dict[str, list[np.ndarray]] = {one.name: [] for one in asked}
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        seen = Seen(
            torch.from_numpy(np.array(images[rows])).float() / 255,
            None if boxes is None else torch.from_numpy(np.array(boxes[rows], dtype=np.float32)),
            None if masks is None else torch.from_numpy(np.array(masks[rows])),
        )
        for one in asked:
            found[one.name].append(one.measure(seen).double().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}
