"""Subjects of images that models look at now: one pass for attention, and what the methods asked for need besides.

Images go through a model together, and what is seen of each is what it would be alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from archaeology.capture.record import capture
from archaeology.core.shapes import Image, PixelImage
from archaeology.dig.labels import plain_name
from archaeology.dig.seen_attention import LongFactors, is_long, joined_factors, seen_at_length, seen_in
from archaeology.dig.shown_methods import Explainer, cheap_methods, coarse, images_at_once
from archaeology.explain.explanation import Explanation
from archaeology.explorer.layers import layers_of_image
from archaeology.explorer.maps import heat_map, missing_map
from archaeology.explorer.outcomes import OUTCOMES, outcome_of
from archaeology.explorer.subject import Answer, HeatMap, Model, Subject, likeliest
from archaeology.specimens.specimen import Specimen

MOST_ANSWERS = 10
MOST_PLACES = 64  # along a side of a map of pixels
AT_ONCE = 8


@dataclass(frozen=True)
class Caption:
    """What an image is called.

    Attributes:
        id: Unique among the subjects of a page.
        title: In a list.
        label: Its true class, by name.
    """

    id: str
    title: str
    label: str | None = None


@dataclass(frozen=True, eq=False)
class Sight:
    """One model's view of several images.

    Attributes:
        specimen: The model.
        models: What it makes of each image.
        factors: Of a model of many tokens, what rows of any query can be computed from; None for others, and where the
            model does not show them.
    """

    specimen: Specimen
    models: tuple[Model, ...]
    factors: LongFactors | None

    def rows(self, image: int, query: int) -> Float[np.ndarray, "layer head key"]:
        """What a token of an image pays to all tokens, or all patches on average for -1.

        Raises:
            ValueError: If rows cannot be computed of this model, or there is no such token.
        """
        if self.factors is None or self.specimen.layout is None:
            raise ValueError(
                f"rows are computed from the queries and keys of models of many tokens, but {self.specimen.name} "
                "shows none; its subject holds all that can be shown of it."
            )
        return self.factors.rows(image, query, self.specimen.layout).numpy()


def subjects_of(
    specimens: Mapping[str, Specimen],
    images: Image | PixelImage,
    captions: Sequence[Caption],
    *,
    methods: Mapping[str, Sequence[str]] | None = None,
) -> list[Subject]:
    """A subject for each image.

    Args:
        specimens: Models by their key, such as "vit" and "cnn".
        images: Floats in [0, 1] or 8 bit.
        captions: One for each image.
        methods: For each model the methods whose maps to draw; those of few passes where it is not named.

    Raises:
        ValueError: If captions are not one for each image, or an image fits no model.
        UnknownNameError: If there is no such method.
    """
    if len(captions) != len(images) or not specimens:
        raise ValueError(
            f"captions must be one for each of {len(images)} images and there must be a model, but got {len(captions)} "
            f"captions and {len(specimens)} models."
        )
    labels = [caption.label for caption in captions]
    views = [
        sight(key, one, images, labels, (methods or {}).get(key)).models for key, one in specimens.items()
    ]
    pixels = pixels_of(images)
    found = []
    for place, caption in enumerate(captions):
        models = tuple(view[place] for view in views)
        group = outcome_of(models)
        note = None if group is None else OUTCOMES[group]
        found.append(Subject(caption.id, caption.title, pixels[place], models, caption.label, note, group))
    return found


def sight(
    key: str,
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Sequence[str | None] | None = None,
    methods: Sequence[str] | None = None,
) -> Sight:
    """One model's view of some images.

    Args:
        key: Short name of the model on the page.
        specimen: The model.
        images: Floats in [0, 1] or 8 bit.
        labels: The true class of each, by name, where it is known.
        methods: Whose maps to draw; those of few passes that the model allows if None.

    Raises:
        UnknownNameError: If there is no such method.
        ValueError: If the model's attention cannot be seen; says why.
    """
    chosen = cheap_methods(specimen) if methods is None else tuple(methods)
    parts = [
        _sight(key, specimen, part, chosen, methods is not None)
        for part in images.split(images_at_once(specimen, AT_ONCE))
    ]
    models = [model for part in parts for model in part.models]
    named = zip(models, labels or [None] * len(models), strict=True)
    return Sight(
        specimen,
        tuple(_marked(model, label) for model, label in named),
        joined_factors([part.factors for part in parts]),
    )


def _sight(key: str, specimen: Specimen, images: Tensor, methods: Sequence[str], is_asked: bool) -> Sight:
    attends = specimen.kind == "transformer"
    long = attends and is_long(specimen)
    record = capture(specimen, images, patterns=attends and not long)
    seen = seen_at_length(specimen, images) if long else seen_in(record)
    explainer = Explainer(specimen, images, record.target, *([record] if attends and not long else []))
    found = explainer.draw(methods)
    maps = {name: maps_of(explanation) for name, explanation in found.items()}
    if is_asked:
        maps |= {name: [missing_map(name, why)] * len(images) for name, why in explainer.missing.items()}
    models = []
    for image in range(len(images)):
        scores = likeliest(record.logits[image].float().cpu().numpy(), specimen.classes, MOST_ANSWERS)
        models.append(
            Model(
                key,
                kind_of(specimen),
                specimen.name,
                Answer(scores[0].name, scores[0].probability),
                scores,
                specimen.layout,
                None if seen is None else layers_of_image(seen, image),
                maps=tuple(maps[name][image] for name in methods if name in maps),
            )
        )
    return Sight(specimen, tuple(models), None if seen is None else seen.factors)


def maps_of(explanation: Explanation) -> list[HeatMap]:
    """A method's map of each image, with signs where it has them."""
    values = coarse(explanation.ranking, MOST_PLACES).detach().float().cpu().numpy()
    is_signed = explanation.attribution is not None
    return [heat_map(explanation.method, one, explanation.formula, is_signed=is_signed) for one in values]


def kind_of(specimen: Specimen) -> Literal["vit", "cnn"]:
    """What the explorer calls such a model."""
    return "vit" if specimen.kind == "transformer" else "cnn"


def pixels_of(images: Image | PixelImage) -> UInt8[np.ndarray, "batch height width 3"]:
    """Images as they are shown: 8 bits, channels last."""
    if images.dtype != torch.uint8:
        images = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())


def _marked(model: Model, label: str | None) -> Model:
    """With the answer marked right or wrong, where the label is known."""
    if label is None or model.answer is None:
        return model
    is_right = plain_name(model.answer.name) == plain_name(label)
    return replace(model, answer=replace(model.answer, is_right=is_right))
