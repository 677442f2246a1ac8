"""What models answer to many versions of the same images: each version is made once and shown to every model."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from archaeology.attacks.checks import checked_labels
from archaeology.capture.finite import not_finite
from archaeology.capture.record import unit_images
from archaeology.core.halving import in_halves
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.robustness.curve import check_names
from archaeology.specimens.specimen import Specimen

#: Given some images in [0, 1], their versions, one after the other, always as many.
Versions = Callable[[Image], Iterable[Image]]


def answers_to_versions(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    versions: Versions,
    at_once: int,
) -> Int[np.ndarray, "specimen version image"]:
    """The class that every model gives to every version of every image.

    Args:
        specimens: Any models, with names of their own, all on one device.
        images: Floats in [0, 1] or 8 bit.
        labels: One class for each; only checked.
        versions: Makes them.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        ValueError: If there is no image or no model, names or labels do not fit, or an answer is not finite.
    """
    check_names([specimen.name for specimen in specimens])
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"there must be at least one image and one label for each, but got {len(images)} images and "
            f"{len(labels)} labels."
        )

    def of_some(which: slice) -> Int[np.ndarray, "specimen version image"]:
        unit = unit_images(images[which], specimens[0].device)
        shown = [
            np.stack([_answers(specimen, some, labels[which]) for specimen in specimens])
            for some in versions(unit)
        ]
        return np.stack(shown, axis=1)

    return np.concatenate([found for _, found in in_halves(of_some, len(images), at_once)], axis=2)


@torch.no_grad()
def _answers(specimen: Specimen, images: Image, labels: Label) -> Int[np.ndarray, " image"]:
    logits = specimen.predict(images)
    if not logits.isfinite().all():
        raise not_finite(specimen, images)
    checked_labels(labels, logits)
    return logits.argmax(dim=1).cpu().numpy()
