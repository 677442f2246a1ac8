"""Statistics of rows, averaged over the queries of a layer while its pattern passes by."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from archaeology.stats.layer import LayerView
from archaeology.stats.rows import Rows, statistics

SAMPLED_ROWS = 8


class RowMeans:
    """Sums and counts of statistics over queries, per example of the layer's batch and head."""

    def __init__(
        self, view: LayerView, generator: torch.Generator, names: Sequence[str] | None = None
    ) -> None:
        """The statistics called `names`, or all; costly ones are taken on rows that `generator` draws."""
        batch, heads, num_queries, _ = view.attention.shape
        self._statistics = [statistics.get(name) for name in (statistics if names is None else names)]
        self.total = np.zeros((len(self._statistics), batch, heads))
        self.count = np.zeros((len(self._statistics), batch, heads), dtype=np.int64)
        order = torch.randperm(num_queries - view.first_query, generator=generator)
        self.is_sampled = torch.zeros(num_queries, dtype=torch.bool)
        self.is_sampled[view.first_query + order[:SAMPLED_ROWS]] = True

    def add(self, rows: Rows, span: slice) -> None:
        """Take some rows in."""
        for column, statistic in enumerate(self._statistics):
            sample = self.is_sampled[span].nonzero()[:, 0] if statistic.sampled else None
            value = statistic.of_rows(rows if sample is None else rows.only(sample))
            self.total[column] += value.nan_to_num(0, 0, 0).sum(dim=-1).cpu().double().numpy()
            self.count[column] += value.isfinite().sum(dim=-1).cpu().numpy()

    def per_image(self, num_images: int) -> Float[np.ndarray, "image head statistic"]:
        """Means over all queries of an image, those of its windows together; NaN where there is none."""
        total, count = (
            array.reshape(len(array), num_images, array.shape[1] // num_images, array.shape[2]).sum(axis=2)
            for array in (self.total, self.count)
        )
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.moveaxis(mean, 0, -1)
