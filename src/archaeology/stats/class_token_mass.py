"""Class-token mass says how much of what a head reads is the class token's summary instead of the image."""

import torch

from archaeology.core.shapes import Pattern
from archaeology.stats.rows import PerRow, Rows, Statistic, statistics


def token_mass(pattern: Pattern, token: int) -> PerRow:
    """Share of every row's attention that goes to one token; a row of zeros gives NaN."""
    return pattern[..., token] / pattern.sum(dim=-1)


def _of_rows(rows: Rows) -> PerRow:
    """Share on the class token; NaN where the model has none or the keys are not the image's tokens."""
    if rows.layout is None or rows.layout.class_token is None:
        return torch.full(rows.pattern.shape[:-1], torch.nan, device=rows.pattern.device)
    return rows.pattern[..., rows.layout.class_token] / rows.total


statistics.register("class_token_mass")(Statistic(_of_rows, "attention on the class token"))
