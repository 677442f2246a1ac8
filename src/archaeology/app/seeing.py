"""What models see in pictures, as the explorer shows it: runs in the worker, several pictures of one size at once."""

from collections.abc import Mapping, Sequence

import torch

from archaeology.app.decoding import Picture
from archaeology.app.models import kind_of
from archaeology.capture.record import capture
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
)
from archaeology.specimens.specimen import Specimen


def subjects(
    specimens: Mapping[str, Specimen], pictures: Sequence[Picture], methods: Sequence[str]
) -> list[Subject]:
    """A subject for each picture; all pictures have one size."""
    images = torch.from_numpy(_stacked(pictures))
    views = {key: seen(key, one, images, pictures, methods) for key, one in specimens.items()}
    return [
        Subject(
            "upload",
            picture.title,
            picture.pixels,
            tuple(view[place] for view in views.values()),
            picture.label,
        )
        for place, picture in enumerate(pictures)
    ]


def _stacked(pictures: Sequence[Picture]):
    import numpy as np

    return np.stack([picture.pixels.transpose(2, 0, 1) for picture in pictures])


def seen(
    key: str, specimen: Specimen, images: PixelImage, pictures: Sequence[Picture], methods: Sequence[str]
) -> list[Model]:
    """What one model makes of each image."""
    record = capture(specimen, images, patterns=specimen.kind == "transformer")
    maps = {}
    for name in methods:
        try:
            maps |= explain_all([name], specimen, images, record.target)
        except (ValueError, SelfCheckError):
            continue
    found = []
    for place, picture in enumerate(pictures):
        scores = likeliest(record.logits[place].float().cpu().numpy(), specimen.classes, 10)
        found.append(
            Model(
                key,
                kind_of(specimen),
                specimen.name,
                Answer(
                    scores[0].name,
                    scores[0].probability,
                    None if picture.label is None else scores[0].name == picture.label,
                ),
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


def _attention(specimen, record, place):
    layout = specimen.layout
    if layout is None or layout.order != "flat":
        return None
    layers = [a for a in record.attentions if a.kind == "token" and a.pattern.shape[-1] == layout.num_tokens]
    if not layers:
        return None
    return AttentionLayers(
        "token",
        tuple(
            AttentionLayer(
                a.module, layout.rows, layout.columns, a.pattern.shape[1], a.pattern[place].cpu().numpy()
            )
            for a in layers
        ),
    )
