"""How large a change is, how to make it no larger, and which step of a given size helps most: the geometry of attacks.

Two norms bound attacks here: "linf", the largest change of any value, and "l2", the length of the whole change. All
sizes are in units of images in [0, 1], one for each image. Steepest ascent in either norm: `madry2018towards`.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image

NORMS = ("linf", "l2")
PerImage = Float[Tensor, " batch"]
TINY = 1e-12
WITHOUT_FLOAT64 = ("mps",)
SLACK = 1e-6  # by which rounding may carry a change beyond epsilon


def check_norm(norm: str) -> None:
    """Raise `UnknownNameError` for a norm that bounds no attack here."""
    if norm not in NORMS:
        raise unknown_name("norm", norm, list(NORMS))


def each(values: Shaped[Tensor, " batch"]) -> Shaped[Tensor, "batch 1 1 1"]:
    """Something of each image, ready to meet its pixels."""
    return values.view(-1, 1, 1, 1)


def lengths(change: Image) -> PerImage:
    """Euclidean length of each image's change."""
    return change.flatten(1).norm(dim=1)


def project(images: Image, original: Image, epsilon: PerImage, norm: str) -> Image:
    """The nearest images that lie within `epsilon` of the original, then cut to [0, 1].

    Cutting to [0, 1] moves every value towards the original, so it never makes a change larger.
    """
    if norm == "linf":
        size = each(epsilon)
        return torch.minimum(torch.maximum(images, original - size), original + size).clamp(0, 1)
    change = images - original
    shrink = (epsilon / lengths(change).clamp(min=TINY)).clamp(max=1)
    return (original + each(shrink) * change).clamp(0, 1)


def in_eight_bits(images: Image, original: Image, epsilon: PerImage, norm: str) -> Image:
    """Images whose every value is one of 256 levels: the nearest, or the next one towards the original.

    The latter where the nearest carries the change beyond `epsilon`: single values for "linf", whole images for "l2".
    """
    nearest = (images * 255).round() / 255
    back = torch.where(images > original, (images * 255).floor(), (images * 255).ceil()) / 255
    change = (nearest - original).abs()
    if norm == "linf":
        return torch.where(change > each(epsilon) + SLACK, back, nearest)
    return torch.where(each(lengths(change) > epsilon + SLACK), back, nearest)


def steepest(gradient: Image, norm: str) -> Image:
    """The change of norm 1 along which a function with this gradient rises most."""
    return gradient.sign() if norm == "linf" else gradient / each(lengths(gradient).clamp(min=TINY))


def random_start(drawn: Image, original: Image, epsilon: PerImage, norm: str) -> Image:
    """Images somewhere within `epsilon` of the original, from one standard normal number for each value.

    Uniform in the box for "linf"; for "l2" in a uniformly random direction, as far out as epsilon.
    """
    if norm == "linf":
        change = torch.erf(drawn / 2**0.5)  # uniform in (-1, 1)
    else:
        # Uniform in the ball would be a length of u^(1/d) times epsilon: of images, 1 up to parts in a thousand.
        change = drawn / each(lengths(drawn).clamp(min=TINY))
    return (original + each(epsilon) * change).clamp(0, 1)


def distances(images: Image, original: Image) -> Mapping[str, PerImage]:
    """How far images are from the original: largest change, length, sum of changes, and how many pixels changed.

    In float64, but for devices that know none (Apple's MPS): there in float32.
    """
    change = images - original
    if images.device.type not in WITHOUT_FLOAT64:
        change = change.double()
    return {
        "linf": change.abs().amax(dim=(1, 2, 3)),
        "l2": lengths(change),
        "l1": change.abs().sum(dim=(1, 2, 3)),
        "l0": (change.abs().amax(dim=1) > 0).sum(dim=(1, 2)).to(change.dtype),
    }
