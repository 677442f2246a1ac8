"""What models see in pictures, as the explorer shows it: runs in the worker, several pictures of one size at once."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.app.decoding import Picture
from archaeology.app.models import methods_of
from archaeology.app.refusal import Refusal
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.core.shapes import Image, PixelImage
from archaeology.explorer.live import Sight, sight
from archaeology.explorer.outcomes import OUTCOMES, outcome_of
from archaeology.explorer.subject import HeatMap, Subject, likeliest, pack_rows
from archaeology.specimens.specimen import Specimen

MOST_CLASSES = 10
KEPT_SIGHTS = 2  # queries and keys of a large model are tens of megabytes
ALL_PATCHES = -1
Change = Float[np.ndarray, "height width channel"]


def batch_of(pictures: Sequence[Picture], specimen: Specimen) -> Image | PixelImage:
    """Pictures of one size, framed already, as a model takes them: 8 bit, or in [0, 1] where all are known exactly."""
    if all(picture.exact is not None for picture in pictures):
        arrays = [picture.exact for picture in pictures if picture.exact is not None]
    else:
        arrays = [picture.pixels for picture in pictures]
    stacked = np.stack([array.transpose(2, 0, 1) for array in arrays])
    return torch.from_numpy(stacked).to(specimen.device)


def scores_of(specimen: Specimen, logits: Tensor) -> list[dict[str, Any]]:
    """The likeliest classes of one image: name, logit, probability."""
    found = likeliest(logits.detach().float().cpu().numpy(), specimen.classes, MOST_CLASSES)
    return [asdict(score) for score in found]


def subjects(
    specimens: Mapping[str, Specimen],
    pictures: Sequence[tuple[Picture, Change | None]],
    methods: Sequence[str] | None,
) -> list[Subject]:
    """A subject for each picture, which is the one that it would be alone.

    Args:
        specimens: Models by key.
        pictures: All of one size; with what an attack added, where one did.
        methods: Whose maps to draw, where a model allows them; None for those of few passes.
    """
    shown = [picture for picture, _ in pictures]
    labels = [picture.label for picture in shown]
    views = [
        sight(key, one, batch_of(shown, one), labels, allowed(one, methods)).models
        for key, one in specimens.items()
    ]
    found: list[Subject] = []
    for place, (picture, change) in enumerate(pictures):
        models = [view[place] for view in views]
        group = outcome_of(models)
        if change is not None:
            models = [replace(one, maps=(*one.maps, map_of(change))) for one in models]
        note = None if group is None else OUTCOMES[group]
        found.append(
            Subject("upload", picture.title, picture.pixels, tuple(models), picture.label, note, group)
        )
    return found


def allowed(specimen: Specimen, methods: Sequence[str] | None) -> list[str] | None:
    """Those of some methods that a model allows: what is asked for the other one is no mistake."""
    return None if methods is None else [name for name in methods_of(specimen) if name in methods]


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


@dataclass(eq=False)
class Rows:
    """Rows of attention, one query at a time, of models whose patterns are too large to send.

    The last images asked about stay as queries and keys, so that the pointer can wander. Used by the worker alone.
    """

    _sights: OrderedDict[tuple[Picture, str], Sight] = field(default_factory=OrderedDict)

    def of(self, key: str, specimen: Specimen, picture: Picture, query: int) -> bytes:
        """What one token, or with -1 all patches on average, pays to all tokens in all layers and heads, packed.

        Raises:
            Refusal: 422, if the model has no such token, or its layers do not all see all tokens.
        """
        layout = specimen.layout
        if layout is None or layout.order != "flat":
            raise Refusal(422, f"{specimen.name} has no layers in which all tokens see each other.")
        if not ALL_PATCHES <= query < layout.num_tokens:
            raise Refusal(
                422,
                f"query must be the number of a token, 0 to {layout.num_tokens - 1}, or -1 for all patches on average, "
                f"but is {query}.",
            )
        seen = self._sight(key, specimen, picture)
        if seen.factors is not None:
            return pack_rows(seen.rows(0, query))
        return pack_rows(asked_again(specimen, picture, query))

    def _sight(self, key: str, specimen: Specimen, picture: Picture) -> Sight:
        place = (picture, key)
        if place not in self._sights:
            self._sights[place] = sight(key, specimen, batch_of([picture], specimen), methods=())
        self._sights.move_to_end(place)
        while len(self._sights) > KEPT_SIGHTS:
            self._sights.popitem(last=False)
        return self._sights[place]


def asked_again(specimen: Specimen, picture: Picture, query: int) -> Float[np.ndarray, "layer head key"]:
    """Rows of one pass, where queries and keys alone do not tell them.

    Raises:
        Refusal: 422, if no layer sees all tokens.
    """
    layout = specimen.layout
    assert layout is not None
    asked = slice(layout.num_prefix, None) if query == ALL_PATCHES else slice(query, query + 1)
    found: list[np.ndarray] = []

    def keep(attention: Attention) -> None:
        if attention.kind == "token" and attention.shape[-1] == layout.num_tokens:
            row = attention.pattern(asked)[0].mean(dim=1)
            found.append(row.detach().float().cpu().numpy())

    with torch.inference_mode(False), torch.no_grad(), intercepted(specimen.model, keep):
        specimen.predict(batch_of([picture], specimen))
    if not found:
        raise Refusal(422, f"{specimen.name} has no layers in which all tokens see each other.")
    return np.stack(found)
