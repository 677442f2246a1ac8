"""An image in which nothing can be recognised: what an explanation compares with, or covers a place with."""

from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image
from archaeology.specimens.specimen import Specimen

BASELINES = ("black", "grey", "blurred")
BLUR = 0.1  # standard deviation of the blur, as a share of the image's shorter side


def baseline_image(name: str, images: Image, specimen: Specimen) -> Image:
    """The baseline called `name` for each of some images, in [0, 1].

    Args:
        name: "black" is zero everywhere; "grey" the mean colour of the specimen's training images, which its
            normalisation turns into zero; "blurred" the image under a Gaussian a tenth of its shorter side wide.
        images: In [0, 1].
        specimen: Whose grey is meant.

    Raises:
        UnknownNameError: If there is no such baseline.
    """
    if name == "black":
        return torch.zeros_like(images)
    if name == "grey":
        return images.new_tensor(specimen.mean).view(1, 3, 1, 1).expand_as(images).contiguous()
    if name == "blurred":
        return blurred(images, BLUR * min(images.shape[2:]))
    raise unknown_name("baseline", name, list(BASELINES))


def blurred(images: Image, deviation: float) -> Image:
    """Images under a Gaussian with this standard deviation in pixels, cut off at three; edges are repeated."""
    reach = max(1, ceil(3 * deviation))
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.softmax(-0.5 * (places / deviation) ** 2, dim=0)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    return _along(_along(padded, weights.view(-1, 1)), weights.view(1, -1))


def _along(images: Tensor, weights: Tensor) -> Tensor:
    kernel = weights.expand(images.shape[1], 1, *weights.shape)
    return F.conv2d(images, kernel, groups=images.shape[1])
