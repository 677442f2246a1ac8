"""Attention of some images as the explorer shows it: whole patterns where they are small, queries and keys where not.

A pattern grows with the square of the tokens, queries and keys only with their number: beyond 257 tokens they are the
smaller ones, and any row can be computed from them again. Layers on windows are kept window by window, with the place
of every token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.capture.record import Record
from archaeology.explain.readout import readout_row
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

FULL_PATTERN_TOKENS = 257  # beyond this a full pattern is larger than the queries and keys it came from
LONG_AT_ONCE = 2


@dataclass(frozen=True, eq=False)
class LongFactors:
    """What rows of all layers can be computed from: `softmax(scale * query @ key^T)`.

    Attributes:
        queries: Half precision.
        keys: Likewise.
        scales: Of the scores of each layer.
    """

    queries: Float[Tensor, "batch layer head token dim"]
    keys: Float[Tensor, "batch layer head token dim"]
    scales: tuple[float, ...]

    def rows(self, image: int, query: int, layout: TokenLayout) -> Float[Tensor, "layer head key"]:
        """What a token of an image pays to every token, in all layers; with -1 the mean over all patches.

        Raises:
            ValueError: If there is no such token.
        """
        tokens = self.queries.shape[3]
        if not -1 <= query < tokens:
            raise ValueError(
                f"query must be one of the {tokens} tokens, numbered from 0, or -1 for the mean of all patches, but "
                f"got {query}."
            )
        asked = slice(layout.num_prefix, None) if query < 0 else slice(query, query + 1)
        found = []
        for layer, scale in enumerate(self.scales):  # all patches of all layers at once would fill the memory
            looking, keys = self.queries[image, layer, :, asked].float(), self.keys[image, layer].float()
            found.append((scale * looking @ keys.mT).softmax(dim=-1).mean(dim=1))
        return torch.stack(found)


@dataclass(frozen=True, eq=False)
class SeenAttention:
    """The layers of a pass that can be laid on the image.

    Attributes:
        kind: "token" where all tokens look at all, "window" where layers see windows or maps of several sizes.
        modules: Dotted paths of the layers.
        grids: Rows and columns of the tokens of each.
        patterns: Of each layer (image, head, query, key), or for windows (image, window, head, query, key); none
            beyond 257 tokens.
        places: Of windows: the place of each token of each window, for each layer.
        readout: What the readout pays to the patches, where layers see all tokens.
        factors: Beyond 257 tokens, where nothing but queries and keys goes into a pattern.
    """

    kind: Literal["token", "window"]
    modules: tuple[str, ...]
    grids: tuple[tuple[int, int], ...]
    patterns: tuple[Tensor, ...] = ()
    places: tuple[Int[Tensor, "_ _"], ...] = ()
    readout: Float[Tensor, "batch layer head patch"] | None = None
    factors: LongFactors | None = None


def is_long(specimen: Specimen) -> bool:
    """Whether a model's patterns are too large to be kept."""
    layout = specimen.layout
    return layout is not None and layout.order == "flat" and layout.num_tokens > FULL_PATTERN_TOKENS


def seen_in(record: Record) -> SeenAttention | None:
    """The attention of a record with patterns; None where no layer can be laid on the image."""
    windows = [seen for seen in record.attentions if seen.places is not None]
    if windows:
        places = [seen.places for seen in windows if seen.places is not None]
        return SeenAttention(
            "window",
            tuple(seen.module for seen in windows),
            tuple((where.rows, where.columns) for where in places),
            tuple(
                seen.pattern.unflatten(0, (-1, len(where.index)))
                for seen, where in zip(windows, places, strict=True)
            ),
            tuple(where.index for where in places),
        )
    layout = record.layout
    if layout is None or layout.order != "flat":
        return None
    layers = [
        seen
        for seen in record.attentions
        if seen.kind == "token" and seen.pattern.shape[-1] in (layout.num_tokens, layout.num_patches)
    ]
    if not layers:
        return None
    patches = [readout_row(seen.pattern, layout)[..., -layout.num_patches :] for seen in layers]
    return SeenAttention(
        "token",
        tuple(seen.module for seen in layers),
        ((layout.rows, layout.columns),) * len(layers),
        tuple(seen.pattern for seen in layers),
        readout=stacked(patches),
    )


@torch.no_grad()
def seen_at_length(specimen: Specimen, images: Tensor) -> SeenAttention | None:
    """The attention of a model of many tokens: no layer's pattern is held longer than it takes to read it.

    Args:
        specimen: Whose layers see all tokens.
        images: Floats in [0, 1] or 8 bit.
    """
    parts = [_seen_at_length(specimen, part) for part in images.split(LONG_AT_ONCE)]
    first = parts[0]
    if first is None:
        return None
    whole = [part for part in parts if part is not None]
    return SeenAttention(
        "token",
        first.modules,
        first.grids,
        readout=torch.cat([part.readout for part in whole if part.readout is not None]),
        factors=joined_factors([part.factors for part in whole]),
    )


def joined_factors(parts: Sequence[LongFactors | None]) -> LongFactors | None:
    """Those of several parts of a batch as one; None where a part has none."""
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    return LongFactors(
        torch.cat([part.queries for part in found]), torch.cat([part.keys for part in found]), found[0].scales
    )


def _seen_at_length(specimen: Specimen, images: Tensor) -> SeenAttention | None:
    layout = specimen.layout
    assert layout is not None
    modules: list[str] = []
    patches: list[Tensor] = []
    queries: list[Tensor] = []
    keys: list[Tensor] = []
    scales: list[float] = []

    def keep(attention: Attention) -> None:
        if attention.kind != "token" or attention.shape[-1] != layout.num_tokens:
            return
        modules.append(attention.module)
        patches.append(readout_row(attention.pattern(), layout)[..., layout.num_prefix :].float().cpu())
        factors = attention.factors
        if factors is not None:
            queries.append(factors.query.half().cpu())
            keys.append(factors.key.half().cpu())
            scales.append(factors.scale)

    with intercepted(specimen.model, keep):
        specimen.predict(images)
    if not modules:
        return None
    alike = len({tuple(part.shape) for part in queries}) == 1
    has_factors = alike and len(queries) == len(modules)
    return SeenAttention(
        "token",
        tuple(modules),
        ((layout.rows, layout.columns),) * len(modules),
        readout=stacked(patches),
        factors=LongFactors(torch.stack(queries, 1), torch.stack(keys, 1), tuple(scales))
        if has_factors
        else None,
    )


def stacked(layers: Sequence[Float[Tensor, "batch _ key"]]) -> Float[Tensor, "batch layer head key"]:
    """Rows of layers that may have different numbers of heads, the missing ones all zero."""
    most = max(layer.shape[1] for layer in layers)
    whole = layers[0].new_zeros(len(layers[0]), len(layers), most, layers[0].shape[-1])
    for number, layer in enumerate(layers):
        whole[:, number, : layer.shape[1]] = layer
    return whole
