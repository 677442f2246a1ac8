"""What a column statistic looks at: how much each key receives, on average over all queries of a pattern.

A statistic of rows asks what one query looks at; a statistic of columns asks what all queries together look at. A
survey adds columns up while it goes through the rows, so the pattern never exists at once for these either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.specimens.layout import TokenLayout
from archaeology.stats.rows import Rows, shares

PerHead = Float[Tensor, "batch head"]


@dataclass(frozen=True, eq=False)
class Columns:
    """What each key of one layer's pattern receives.

    Attributes:
        received: Mean over queries of the share that goes to each key; sums to one. NaN where no query looks anywhere.
        layout: Where the keys lie in the image, or None where they are not the image's tokens in order.
    """

    received: Float[Tensor, "batch head key"]
    layout: TokenLayout | None


@dataclass(frozen=True)
class ColumnStatistic:
    """One number for each head, from what its keys receive, and how to speak of it.

    Attributes:
        of_columns: Computes it; NaN where it is not defined.
        label: What a figure writes beside it.
        unit: Its unit; empty for a share.
    """

    of_columns: Callable[[Columns], PerHead]
    label: str
    unit: str = ""


column_statistics: Registry[ColumnStatistic] = Registry("column statistic")


class ColumnSums:
    """Adds up what each key receives, some rows at a time."""

    def __init__(self) -> None:
        self.total: Float[Tensor, "batch head key"] | None = None
        self.count: Float[Tensor, "batch head 1"] | None = None

    def add(self, rows: Rows, span: slice) -> None:
        """Take some rows in; those of zeros do not count."""
        inverse, known = shares(rows)
        share = rows.pattern if rows.sums_to_one else rows.pattern * inverse[..., None]
        received = share.sum(dim=2).double()
        count = known.sum(dim=-1, keepdim=True).double()
        self.total = received if self.total is None else self.total + received
        self.count = count if self.count is None else self.count + count

    def columns(self, layout: TokenLayout | None) -> Columns:
        """The means over all rows taken in."""
        assert self.total is not None and self.count is not None
        return Columns(self.total / self.count, layout)


def column_values(
    columns: Columns, num_images: int, names: Sequence[str] | None = None
) -> Float[np.ndarray, "image head statistic"]:
    """The statistics of columns called `names`, or all; the mean over an image's windows where it has several."""
    chosen = column_statistics if names is None else names
    found = [column_statistics.get(name).of_columns(columns) for name in chosen]
    stacked = torch.stack(found, dim=-1).unflatten(0, (num_images, -1))
    return stacked.nanmean(dim=1).cpu().numpy()
