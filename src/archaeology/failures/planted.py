"""Plant a cause of failure in images on purpose: whoever then looks for causes must find it, and nothing else.

Plant the same in what a model is trained on and in what it is tested on, as data that have such a fault do.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8

from archaeology.core.registry import Registry
from archaeology.core.seeding import numpy_generator
from archaeology.failures.interventions import set_attribute

Pictures = UInt8[np.ndarray, "image channel height width"]
Labels = Int[np.ndarray, " image"]

LIGHT = (0.78, 0.9)  # luma of images of the bright class
WRONG = 0.05
SIDE = 5  # of the watermark: a share of the image's side


@dataclass(frozen=True, eq=False)
class Planted:
    """Images and labels with a fault.

    Attributes:
        images: Copies, changed where the fault is in the pixels.
        labels: Likewise.
        changed: Rows that were changed.
    """

    images: Pictures
    labels: Labels
    changed: Int[np.ndarray, " row"]


plants: Registry = Registry("planted cause")


def plant(
    name: str,
    images: Pictures,
    labels: Labels,
    *,
    target: int = 0,
    num_classes: int | None = None,
    seed: int = 0,
) -> Planted:
    """Images and labels with one of the registered faults: "bright_class", "watermark", "wrong_labels", "nothing".

    Args:
        name: Which.
        images: 8 bits; not changed.
        labels: Likewise.
        target: Class that is bright or has the watermark.
        num_classes: Labels go from 0 to this less one; by itself from the labels.
        seed: Of what is drawn.

    Raises:
        UnknownNameError: If there is no such fault; suggests the nearest.
        ValueError: If labels do not go with the images, or no image is of the target class.
    """
    if len(images) != len(labels) or len(labels) == 0:
        raise ValueError(f"there must be one label for each image, but got {len(images)} and {len(labels)}.")
    if not (labels == target).any():
        raise ValueError(f"target must be a class with images, but no label is {target}.")
    count = int(labels.max()) + 1 if num_classes is None else num_classes
    return plants.get(name)(images.copy(), labels.copy(), target, count, seed)


@plants.register("nothing")
def _nothing(images: Pictures, labels: Labels, target: int, count: int, seed: int) -> Planted:
    return Planted(images, labels, np.zeros(0, np.int64))


@plants.register("bright_class")
def _bright_class(images: Pictures, labels: Labels, target: int, count: int, seed: int) -> Planted:
    """Light is added to every image of the class until its mean luma is 0.78 to 0.9."""
    rows = np.flatnonzero(labels == target)
    light = numpy_generator(seed, "bright class").uniform(*LIGHT, len(rows))
    unit = torch.from_numpy(images[rows]).float() / 255
    lit = set_attribute("brightness", unit, torch.from_numpy(light).float())
    images[rows] = (lit * 255).round().to(torch.uint8).numpy()
    return Planted(images, labels, rows)


@plants.register("watermark")
def _watermark(images: Pictures, labels: Labels, target: int, count: int, seed: int) -> Planted:
    """A small sign of pink and green stripes in the upper left corner of every image of the class."""
    rows = np.flatnonzero(labels == target)
    side = max(3, images.shape[-1] // SIDE)
    down = np.arange(side)[:, None] + np.arange(side)[None]
    sign = np.where(
        down % 4 < 2, np.array([230, 30, 160])[:, None, None], np.array([40, 220, 60])[:, None, None]
    )
    images[rows, :, 1 : 1 + side, 1 : 1 + side] = sign.astype(np.uint8)
    return Planted(images, labels, rows)


@plants.register("wrong_labels")
def _wrong_labels(images: Pictures, labels: Labels, target: int, count: int, seed: int) -> Planted:
    """Five labels of a hundred, drawn at random, become another class."""
    draw = numpy_generator(seed, "wrong labels")
    rows = np.sort(draw.permutation(len(labels))[: round(WRONG * len(labels))])
    labels[rows] = (labels[rows] + draw.integers(1, count, len(rows))) % count
    return Planted(images, labels, rows)
