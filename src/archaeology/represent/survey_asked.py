"""What a survey of representations asks about: models, images and labels, and the features read so far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from archaeology.core.intervals import Interval
from archaeology.core.seeding import numpy_generator
from archaeology.core.shapes import OtherImages
from archaeology.represent.features import Features, chosen_layers, extract_features
from archaeology.represent.patches import PatchFeatures, patch_features
from archaeology.specimens.specimen import Specimen

PATCH_IMAGES = 64  # whose patches are kept one by one


@dataclass(eq=False)
class Asked:
    """Models and images of a survey, and the features read so far.

    Attributes:
        specimens: The models.
        layers: Module paths by model.
        images: Different from one another.
        names: Of the images.
        labels: Classes; None where nothing may be read off.
        classes: Their names.
        known: Rows of images whose labels are told.
        asked: Rows of the others.
        boxes: Around the object, as shares; None where no image has one.
        right: By model, whether it answers each image rightly.
        is_judged: Whether that can be said of an image: one without a label is neither right nor wrong.
        projections: Methods that draw maps.
        seed: Of all that is drawn.
        kept: Features by model and readout.
        patches: Those kept one by one, by model.
    """

    specimens: tuple[Specimen, ...]
    layers: Mapping[str, tuple[str, ...]]
    images: OtherImages
    names: tuple[str, ...]
    labels: Int[np.ndarray, " image"] | None
    classes: tuple[str, ...]
    known: Int[np.ndarray, " known"]
    asked: Int[np.ndarray, " asked"]
    boxes: Float[np.ndarray, "box 4"] | None
    right: Mapping[str, Bool[np.ndarray, " _"]]
    is_judged: Bool[np.ndarray, " image"]
    projections: tuple[str, ...]
    seed: int
    kept: dict[tuple[str, str], tuple[Features, ...]] = field(default_factory=dict)
    patches: dict[str, PatchFeatures] = field(default_factory=dict)

    def features(self, specimen: Specimen, readout: str = "mean_patches") -> tuple[Features, ...]:
        """Features of the layers that have what the readout reads; none where no layer has."""
        key = (specimen.name, readout)
        if key not in self.kept:
            try:
                able = chosen_layers(specimen, self.images, None, readout)
            except ValueError:
                able = ()
            paths = [path for path in self.layers[specimen.name] if readout == "mean_patches" or path in able]
            self.kept[key] = (
                extract_features(specimen, self.images, layers=paths, readout=readout) if paths else ()
            )
        return self.kept[key]

    def unread(self) -> dict[str, str]:
        """Why the features of a model cannot be read, by model; of the others they are read."""
        reasons = {}
        for one in self.specimens:
            try:
                self.features(one)
            except ValueError as error:
                reasons[one.name] = str(error)
        return reasons

    def without(self, names: Collection[str]) -> "Asked":
        """The same, asked of the other models."""
        return replace(self, specimens=tuple(one for one in self.specimens if one.name not in names))

    def last(self, specimen: Specimen) -> Features:
        """The last layer as the answer is read from it: the class token, or the mean of patches."""
        layout = specimen.layout
        reads_mean = layout is not None and layout.readout == "mean"
        found = () if reads_mean else self.features(specimen, "class_token")
        found = found or self.features(specimen)
        return found[-1]

    def patch_rows(self) -> Int[np.ndarray, " row"]:
        """Rows of the images whose patches are kept."""
        return self.drawn(PATCH_IMAGES)

    def patches_of(self, specimen: Specimen) -> PatchFeatures:
        """Every patch of some images at the last layer."""
        if specimen.name not in self.patches:
            chosen = self.images[torch.from_numpy(self.patch_rows())]
            self.patches[specimen.name] = patch_features(
                specimen, chosen, layer=self.layers[specimen.name][-1]
            )
        return self.patches[specimen.name]

    def drawn(self, most: int) -> Int[np.ndarray, " row"]:
        """Rows of at most so many images in their order, drawn as evenly from all classes as can be.

        Never the first ones: folders of classes come class by class.
        """
        order = numpy_generator(self.seed, "drawn images", len(self.images)).permutation(len(self.images))
        if self.labels is not None:
            order = order[np.argsort(place_in_class(self.labels, order)[order], kind="stable")]
        return np.sort(order[:most])

    def halves(self, features: Features) -> tuple[Features, Int[np.ndarray, " _"], Features, np.ndarray]:
        """Known features and classes, asked features and classes."""
        assert self.labels is not None
        return (
            features.rows(self.known),
            self.labels[self.known],
            features.rows(self.asked),
            self.labels[self.asked],
        )


def place_in_class(
    labels: Int[np.ndarray, " image"], order: Int[np.ndarray, " image"]
) -> Int[np.ndarray, " image"]:
    """Of every image how many of its class come before it in this order."""
    place = np.empty(len(labels), np.int64)
    for name in np.unique(labels):
        own = order[labels[order] == name]
        place[own] = np.arange(len(own))
    return place


def ends(name: str, found: Interval) -> dict[str, Any]:
    """An interval as entries of a row; None where a number is not defined."""
    numbers = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: float(value) if np.isfinite(value) else None for key, value in numbers.items()}
