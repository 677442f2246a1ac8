"""One layer's pattern, a few rows at a time: whoever wants to know something of it looks at the same rows, once.

The rows are made for a few queries, shown to all watchers while they are in the processor's cache, and dropped, so that
the pattern never exists at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch

from archaeology.capture.attention import Attention, Factors
from archaeology.specimens.layout import TokenLayout
from archaeology.stats.rows import Rows

WEIGHTS_PER_CHUNK = 2**20  # 4 MB of float32: about what a core's cache holds


@runtime_checkable
class Watcher(Protocol):
    """Takes in the rows of a layer's pattern, in order, and keeps what it needs."""

    def add(self, rows: Rows, span: slice) -> None:
        """Some rows, and which of the layer's queries they are."""
        ...


@dataclass(frozen=True, eq=False)
class LayerView:
    """A layer's pattern with what is known of the places of its tokens.

    Attributes:
        attention: The layer, while the model runs.
        layout: Where its keys lie in the image; None where they are not the image's tokens in order.
        patch_size: Height and width of a patch, in pixels.
    """

    attention: Attention
    layout: TokenLayout | None
    patch_size: tuple[float, float]

    @property
    def first_query(self) -> int:
        """The first query that is a patch; all queries count where they are no tokens of the image."""
        return self.layout.num_prefix if self.layout is not None and self.attention.kind == "token" else 0

    @cached_property
    def factors(self) -> Factors | None:
        """What the pattern is made of, where it is known."""
        return self.attention.factors

    def rows(self, span: slice) -> Rows:
        """The rows of some queries, with negative weights (after talking heads) taken as none."""
        scores = None if self.factors is None else self.factors.scores(span)
        pattern = self.attention.pattern(span) if scores is None else scores.softmax(dim=-1)
        if not self.attention.normalised:
            pattern = pattern.clamp(min=0)
        index = torch.arange(span.start, span.stop)
        places = index if self.attention.kind == "token" else torch.full_like(index, -1)
        return Rows(pattern, places, self.layout, self.patch_size, scores)

    def spans(self) -> Iterator[slice]:
        """The queries that count, as many at a time as fit into a cache."""
        batch, heads, num_queries, num_keys = self.attention.shape
        step = max(1, WEIGHTS_PER_CHUNK // (batch * heads * num_keys))
        for start in range(self.first_query, num_queries, step):
            yield slice(start, min(start + step, num_queries))


def view_of(attention: Attention, layout: TokenLayout | None, image_size: tuple[int, int]) -> LayerView:
    """What is known of the places of a layer's tokens.

    Args:
        attention: The layer, while the model runs.
        layout: Of the model's tokens, where it is known.
        image_size: Height and width of the images in pixels.
    """
    if layout is None:
        return LayerView(attention, None, (1.0, 1.0))
    patch_size = (image_size[0] / layout.rows, image_size[1] / layout.columns)
    keys = attention.shape[-1]
    if layout.order != "flat" or attention.kind not in ("token", "pool"):
        return LayerView(attention, None, patch_size)
    if keys == layout.num_tokens:
        return LayerView(attention, layout, patch_size)
    if keys == layout.num_patches:  # the prefix joins later, as in CaiT
        return LayerView(attention, replace(layout, prefix=(), readout="mean"), patch_size)
    return LayerView(attention, None, patch_size)


def walk(view: LayerView, watchers: Sequence[Watcher]) -> None:
    """Show all rows that count to all watchers, chunk by chunk.

    Raises:
        ValueError: If the pattern holds NaN or infinity; names the layer.
    """
    for span in view.spans():
        rows = view.rows(span)
        _check_finite(rows, view.attention.module)
        for watcher in watchers:
            watcher.add(rows, span)


def _check_finite(rows: Rows, module: str) -> None:
    if not rows.total.isfinite().all():
        broken = ~rows.pattern.isfinite().all(dim=(1, 2, 3))
        raise ValueError(
            f"attention must be finite to be counted, but {module or 'the model'} gives NaN or infinity for "
            f"{int(broken.sum())} of {len(broken)} patterns of the pass; look for overflow (half precision?) or for "
            "broken weights in the layers before it."
        )
