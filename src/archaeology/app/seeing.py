"""What models see in pictures, as the explorer shows it: runs in the worker, several pictures of one size at once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.app.decoding import Picture
from archaeology.app.models import kind_of
from archaeology.app.refusal import Refusal
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.capture.record import Record, capture
from archaeology.core.errors import SelfCheckError
from archaeology.core.shapes import PixelImage
from archaeology.explain.method import explain_all, explanations
from archaeology.explorer.subject import (
    Answer,
    AttentionLayer,
    AttentionLayers,
    HeatMap,
    Model,
    Subject,
    likeliest,
    pack_rows,
)
from archaeology.specimens.specimen import Specimen

MOST_CLASSES = 10
Change = Float[np.ndarray, "height width channel"]


def batch_of(pictures: Sequence[Picture], specimen: Specimen) -> PixelImage:
    """Pictures of one size as a model takes them."""
    stacked = np.stack([picture.pixels.transpose(2, 0, 1) for picture in pictures])
    return torch.from_numpy(stacked).to(specimen.device)


def scores_of(specimen: Specimen, logits: Tensor) -> list[dict[str, Any]]:
    """The likeliest classes of one image: name, logit, probability."""
    found = likeliest(logits.detach().float().cpu().numpy(), specimen.classes, MOST_CLASSES)
    return [asdict(score) for score in found]


def subjects(
    specimens: Mapping[str, Specimen],
    pictures: Sequence[tuple[Picture, Change | None]],
    methods: Sequence[str],
) -> list[Subject]:
    """A subject for each picture, all of one size; where a picture was changed, with a map of the change."""
    shown = [picture for picture, _ in pictures]
    views = [seen(key, one, shown, methods) for key, one in specimens.items()]
    found: list[Subject] = []
    for place, (picture, change) in enumerate(pictures):
        models = tuple(view[place] for view in views)
        if change is not None:
            models = tuple(replace(one, maps=(*one.maps, map_of(change))) for one in models)
        found.append(Subject("upload", picture.title, picture.pixels, models, picture.label))
    return found


def map_of(change: Change) -> HeatMap:
    """What an attack added, as a map."""
    return HeatMap(
        method="perturbation",
        title="Perturbation",
        says="what the attack added to each pixel, mean of the three colours",
        formula="mean over colours of (image after - image before), images in [0, 1]",
        unit="of the range of a pixel",
        values=change.mean(axis=2).astype(np.float32),
        knows_class=True,
        is_signed=True,
        state="drawn" if change.any() else "empty",
    )


def seen(key: str, specimen: Specimen, pictures: Sequence[Picture], methods: Sequence[str]) -> list[Model]:
    """What one model makes of each image."""
    images = batch_of(pictures, specimen)
    record = capture(specimen, images, patterns=specimen.kind == "transformer")
    maps = {}
    for name in methods:
        try:
            maps |= explain_all([name], specimen, images, record.target)
        except (ValueError, SelfCheckError):
            continue
    found = []
    for place, picture in enumerate(pictures):
        scores = likeliest(record.logits[place].float().cpu().numpy(), specimen.classes, MOST_CLASSES)
        is_right = None if picture.label is None else scores[0].name == picture.label
        found.append(
            Model(
                key,
                kind_of(specimen),
                specimen.name,
                Answer(scores[0].name, scores[0].probability, is_right),
                scores,
                specimen.layout,
                _attention(specimen, record, place),
                maps=tuple(
                    HeatMap(
                        name,
                        explanations.get(name).title,
                        "",
                        one.formula,
                        "",
                        one.heatmap[place].detach().float().cpu().numpy(),
                    )
                    for name, one in maps.items()
                ),
            )
        )
    return found


def _attention(specimen: Specimen, record: Record, place: int) -> AttentionLayers | None:
    layout = specimen.layout
    if layout is None or layout.order != "flat":
        return None
    layers = [
        one for one in record.attentions if one.kind == "token" and one.pattern.shape[-1] == layout.num_tokens
    ]
    if not layers:
        return None
    return AttentionLayers(
        "token",
        tuple(
            AttentionLayer(
                one.module,
                layout.rows,
                layout.columns,
                one.pattern.shape[1],
                one.pattern[place].cpu().numpy(),
            )
            for one in layers
        ),
    )


def rows(specimen: Specimen, picture: Picture, query: int) -> bytes:
    """What one query looks at in all layers and heads, packed.

    Raises:
        Refusal: 422, if the model has no such query, or its layers do not all see all tokens.
    """
    layout = specimen.layout
    if layout is None or layout.order != "flat":
        raise Refusal(422, f"{specimen.name} has no layers in which all tokens see each other.")
    if query >= layout.num_tokens:
        raise Refusal(
            422, f"query must be the number of a token, 0 to {layout.num_tokens - 1}, but is {query}."
        )
    found: list[np.ndarray] = []

    def keep(attention: Attention) -> None:
        if attention.kind == "token" and attention.shape[-1] == layout.num_tokens:
            row = attention.pattern(slice(query, query + 1))[0, :, 0]
            found.append(row.detach().float().cpu().numpy())

    with torch.inference_mode(False), torch.no_grad(), intercepted(specimen.model, keep):
        specimen.predict(batch_of([picture], specimen))
    if not found:
        raise Refusal(422, f"{specimen.name} has no layers in which all tokens see each other.")
    return pack_rows(np.stack(found))
