"""A model without its last linear layer: what it makes of an image before it decides on a class.

So a classifier, an encoder with a head fitted afterwards and an encoder without a head can be asked the same things,
and a probe put on any of them is a classifier that can be attacked, blurred and shown shapes of the wrong texture.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from archaeology.capture.outputs import outputs_kept
from archaeology.core.halving import in_halves
from archaeology.represent.features import Features, Images, check_finite, image_ids, images_at
from archaeology.specimens.specimen import Specimen

AT_ONCE = 128
ROUNDING = 1e-6
PIXELS = "raw pixels"


def backbone(specimen: Specimen) -> Specimen:
    """The specimen with its last linear layer left out, if its answer is what such a layer says.

    Args:
        specimen: Any model. One without classes gives its embedding as it is.

    Returns:
        A copy; where no linear layer's output is the answer itself (two heads averaged, a convolution), the answer is
        the features, and `facts` say so.
    """
    path = _head_of(specimen) if specimen.classes else None
    model = copy.deepcopy(specimen.model)
    if path is None:
        read = "its output"
    elif path:
        model.set_submodule(path, nn.Identity())
        read = f"the input of {path}"
    else:
        model, read = nn.Flatten(), "the input of the whole model, one linear layer"
    return replace(specimen, model=model.eval(), classes=(), facts={**specimen.facts, "features": read})


@torch.no_grad()
def _head_of(specimen: Specimen) -> str | None:
    """Path of the linear layer whose output is the model's answer, perhaps times a number; None where there is none."""
    linear = [path for path, module in specimen.model.named_modules() if isinstance(module, nn.Linear)]
    height, width = specimen.image_size
    image = torch.linspace(0, 1, 3 * height * width).view(1, 3, height, width).to(specimen.device)
    with outputs_kept(specimen.model, linear) as kept:
        answer = specimen.predict(torch.cat([image, 1 - image]))
    found = [
        path for path, output in kept.items() if output.shape == answer.shape and _are_alike(output, answer)
    ]
    return found[-1] if found else None


def _are_alike(output: torch.Tensor, answer: torch.Tensor) -> bool:
    """Whether both are the same but for a positive factor; zeros are like zeros, as of a head never trained."""
    one, other = (F.normalize(each.double().flatten(), dim=0) for each in (output, answer))
    return bool((one - other).abs().max() < ROUNDING)


def pixels(size: tuple[int, int] = (32, 32)) -> Specimen:
    """Raw pixels as if they were features, red first, row by row, not centred; images are brought to this size."""
    return Specimen(
        PIXELS,
        nn.Flatten(),
        "other",
        (),
        size,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        facts={"features": "pixels"},
    )


@torch.no_grad()
def output_features(specimen: Specimen, images: Images, *, batch_size: int = AT_ONCE) -> Features:
    """What the specimen says of every image, as features.

    Raises:
        ValueError: If there is no image, or a feature is not finite.
    """
    if len(images) == 0:
        raise ValueError("features need at least one image, but got none.")

    def run(which: slice) -> tuple[list[str], np.ndarray]:
        batch = images_at(images, np.arange(which.start, which.stop))
        return image_ids(batch), specimen.predict(batch).flatten(1).float().cpu().numpy()

    parts = [found for _, found in in_halves(run, len(images), batch_size)]
    values = np.concatenate([rows for _, rows in parts])
    check_finite(values, specimen.name)
    return Features(
        values, tuple(name for names, _ in parts for name in names), specimen.name, "features", "output"
    )


def probed(specimen: Specimen, head: nn.Linear, classes: Sequence[str]) -> Specimen:
    """Features with a linear head on them: a classifier.

    Raises:
        ValueError: If the head says another number of things than there are classes.
    """
    if head.out_features != len(classes):
        raise ValueError(
            f"the head must say one number for each of {len(classes)} classes, but says {head.out_features}."
        )
    model = nn.Sequential(copy.deepcopy(specimen.model), nn.Flatten(), head.to(specimen.device))
    return replace(specimen, model=model.eval(), classes=tuple(classes), target_layer=None)
