"""Statistics of rows, averaged over the queries of a layer while its pattern passes by."""

import numpy as np
import torch
from jaxtyping import Float

from archaeology.stats.layer import LayerView
from archaeology.stats.rows import Rows, statistics

SAMPLED_ROWS = 8


class RowMeans:
    """Sums and counts of every registered statistic over queries, per example of the layer's batch and head."""

    def __init__(self, view: LayerView, generator: torch.Generator) -> None:
        """Costly statistics are taken on rows that `generator` draws."""
        batch, heads, num_queries, _ = view.attention.shape
        self.total = np.zeros((len(statistics), batch, heads))
        self.count = np.zeros((len(statistics), batch, heads), dtype=np.int64)
        order = torch.randperm(num_queries - view.first_query, generator=generator)
        self.is_sampled = torch.zeros(num_queries, dtype=torch.bool)
        self.is_sampled[view.first_query + order[:SAMPLED_ROWS]] = True

    def add(self, rows: Rows, span: slice) -> None:
        """Take some rows in."""
        few = rows.only(self.is_sampled[span].nonzero()[:, 0])
        for column, name in enumerate(statistics):
            statistic = statistics.get(name)
            value = statistic.of_rows(few if statistic.sampled else rows)
            self.total[column] += value.nan_to_num(0, 0, 0).sum(dim=-1).cpu().double().numpy()
            self.count[column] += value.isfinite().sum(dim=-1).cpu().numpy()

    def per_image(self, num_images: int) -> Float[np.ndarray, "image head statistic"]:
        """Means over all queries of an image, those of its windows together; NaN where there is none."""
        total, count = (
            array.reshape(len(array), num_images, -1, array.shape[-1]).sum(axis=2)
            for array in (self.total, self.count)
        )
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.moveaxis(mean, 0, -1)
