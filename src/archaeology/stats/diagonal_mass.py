"""Diagonal mass says how much a token looks at itself: what it passes on is what it already was."""

import torch

from archaeology.core.shapes import Pattern
from archaeology.stats.rows import PerRow, Rows, Statistic, statistics


def diagonal_mass(pattern: Pattern, queries: torch.Tensor) -> PerRow:
    """Share of every row's attention that goes to the query itself; a row of zeros gives NaN.

    Args:
        pattern: Weights >= 0; rows need not sum to one.
        queries: Which key each row's query is; NaN results where it is negative (none).
    """
    return _itself(pattern, queries) / pattern.sum(dim=-1)


def _itself(pattern: Pattern, queries: torch.Tensor) -> PerRow:
    places = queries.to(pattern.device)
    itself = pattern.gather(-1, places.clamp(min=0).expand(*pattern.shape[:2], -1)[..., None])[..., 0]
    return itself.masked_fill(places < 0, torch.nan)


def _of_rows(rows: Rows) -> PerRow:
    """Share on itself; NaN for windows, pools and cross-attention, whose queries are not among the keys in order."""
    return _itself(rows.pattern, rows.queries) / rows.total


statistics.register("diagonal_mass")(Statistic(_of_rows, "attention on itself"))
