"""Attention distance says how far a head looks: the expected distance in pixels from query to key.

Source: `dosovitskiy2021image` (figure 7, right). Distances are between patch centres; only image tokens
count, the weights on them being divided by their sum, so that a head that mostly reads the class token is
not called local.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Pattern
from archaeology.specimens.layout import TokenLayout
from archaeology.stats.rows import PerRow, Rows, Statistic, statistics


@lru_cache(maxsize=8)
def patch_distances(layout: TokenLayout, patch_size: tuple[float, float]) -> Float[Tensor, "query key"]:
    """Distance in pixels between the centres of every two patches, patches counted row by row."""
    rows = torch.arange(layout.rows, dtype=torch.float64) * patch_size[0]
    columns = torch.arange(layout.columns, dtype=torch.float64) * patch_size[1]
    centres = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    return torch.linalg.vector_norm(centres[:, None] - centres[None], dim=-1)


def attention_distance(pattern: Pattern, distances: Float[Tensor, "query key"]) -> PerRow:
    """Expected distance between each query and its keys, in the unit of `distances`.

    Args:
        pattern: Weights >= 0 between patches; rows need not sum to one. A row of zeros gives NaN.
        distances: From each query to each key.
    """
    return torch.linalg.vecdot(pattern, distances.to(pattern)) / pattern.sum(dim=-1)


def _of_rows(rows: Rows) -> PerRow:
    """Distance of patch queries; NaN for tokens without a place and for windows, whose places are unknown."""
    layout = rows.layout
    if layout is None:
        return torch.full(rows.pattern.shape[:-1], torch.nan, device=rows.pattern.device)
    between_patches = patch_distances(layout, rows.patch_size)
    is_patch = rows.queries >= layout.num_prefix
    origin = (rows.queries - layout.num_prefix).clamp(min=0).cpu()
    value = attention_distance(rows.pattern[..., layout.num_prefix :], between_patches[origin])
    return value.masked_fill(~is_patch.to(value.device), torch.nan)


statistics.register("distance")(Statistic(_of_rows, "attention distance", "pixels"))
