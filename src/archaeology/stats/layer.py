"""All statistics of one layer, a few rows at a time, so that its pattern never exists at once."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from archaeology.capture.attention import Attention
from archaeology.specimens.layout import TokenLayout
from archaeology.stats.rows import Rows, statistics

SAMPLED_ROWS = 8
WEIGHTS_PER_CHUNK = 2**20  # 4 MB of float32: about what a core's cache holds


def layer_values(
    attention: Attention,
    *,
    layout: TokenLayout | None,
    image_size: tuple[int, int],
    num_images: int,
    generator: torch.Generator,
) -> Float[np.ndarray, "image head statistic"]:
    """Every registered statistic of one layer, per image and head: means over queries where it is defined.

    Args:
        attention: The layer, while the model runs.
        layout: Of the model's tokens, where it is known.
        image_size: Height and width of the images in pixels.
        num_images: In the pass; a layer that works on windows has several patterns for each.
        generator: Draws the rows on which costly statistics are sampled.
    """
    view = _view(attention, layout, image_size)
    batch, heads, num_queries, num_keys = attention.shape
    cheap = [name for name in statistics if not statistics.get(name).sampled]
    costly = [name for name in statistics if statistics.get(name).sampled]
    sums = _Means(batch, heads)
    step = max(1, WEIGHTS_PER_CHUNK // (batch * heads * num_keys))
    order = torch.randperm(num_queries - view.first_query, generator=generator)
    is_sampled = torch.zeros(num_queries, dtype=torch.bool)
    is_sampled[view.first_query + order[:SAMPLED_ROWS]] = True
    for start in range(view.first_query, num_queries, step):
        rows = view.rows(start, min(start + step, num_queries))
        sums.add(cheap, rows)
        sums.add(costly, rows.only(is_sampled[start : start + step].nonzero()[:, 0]))
    return sums.per_image(num_images)


@dataclass(frozen=True, eq=False)
class _View:
    """A layer's pattern with what is known of the places of its tokens."""

    attention: Attention
    layout: TokenLayout | None
    patch_size: tuple[float, float]

    @property
    def first_query(self) -> int:
        """The first query that is a patch; all queries count where they are no tokens of the image."""
        return self.layout.num_prefix if self.layout is not None and self.attention.kind == "token" else 0

    def rows(self, start: int, stop: int) -> Rows:
        """The rows of some queries, with negative weights (after talking heads) taken as none."""
        pattern = self.attention.pattern(slice(start, stop))
        if not self.attention.normalised:
            pattern = pattern.clamp(min=0)
        index = torch.arange(start, stop)
        places = index if self.attention.kind == "token" else torch.full_like(index, -1)
        return Rows(pattern, places, self.layout, self.patch_size)


def _view(attention: Attention, layout: TokenLayout | None, image_size: tuple[int, int]) -> _View:
    if layout is None:
        return _View(attention, None, (1.0, 1.0))
    patch_size = (image_size[0] / layout.rows, image_size[1] / layout.columns)
    keys = attention.shape[-1]
    if layout.order != "flat" or attention.kind not in ("token", "pool"):
        return _View(attention, None, patch_size)
    if keys == layout.num_tokens:
        return _View(attention, layout, patch_size)
    if keys == layout.num_patches:  # the prefix joins later, as in CaiT
        return _View(attention, replace(layout, prefix=(), readout="mean"), patch_size)
    return _View(attention, None, patch_size)


class _Means:
    """Sums and counts of statistics over queries, per example of the layer's batch and head."""

    def __init__(self, batch: int, heads: int) -> None:
        self.total = np.zeros((len(statistics), batch, heads))
        self.count = np.zeros((len(statistics), batch, heads), dtype=np.int64)

    def add(self, names: list[str], rows: Rows) -> None:
        """Take some rows in."""
        for name in names:
            value = statistics.get(name).of_rows(rows)
            known = value.isfinite()
            column = statistics.names().index(name)
            self.total[column] += value.nan_to_num(0, 0, 0).sum(dim=-1).cpu().double().numpy()
            self.count[column] += known.sum(dim=-1).cpu().numpy()

    def per_image(self, num_images: int) -> Float[np.ndarray, "image head statistic"]:
        """Means over all queries of an image, those of its windows together; NaN where there is none."""
        total, count = (
            array.reshape(len(array), num_images, -1, array.shape[-1]).sum(axis=2)
            for array in (self.total, self.count)
        )
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.moveaxis(mean, 0, -1)
