"""Neighbour mass says how much a patch looks at the patches around it: the reach of a 3 x 3 convolution.

`cordonnier2020relationship` show that heads can express convolutions, each looking at one of the patches around; here
the eight count together and the patch itself does not (diagonal mass).
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from archaeology.core.shapes import Pattern
from archaeology.specimens.layout import TokenLayout
from archaeology.stats.rows import PerRow, Rows, Statistic, statistics


@lru_cache(maxsize=8)
def patch_neighbours(layout: TokenLayout) -> Int[Tensor, "patch neighbour"]:
    """Numbers of the up to 8 patches that touch each patch, also by a corner; -1 where the border leaves fewer."""
    number = torch.arange(layout.num_patches).reshape(layout.rows, layout.columns)
    padded = F.pad(number, (1, 1, 1, 1), value=-1)
    around = padded.unfold(0, 3, 1).unfold(1, 3, 1).flatten(2).flatten(0, 1)
    return around[:, [0, 1, 2, 3, 5, 6, 7, 8]]


def neighbour_mass(
    pattern: Pattern, neighbours: Int[Tensor, "query neighbour"], num_prefix: int = 0
) -> PerRow:
    """Share of every row's attention that goes to the neighbours of its patch; a row of zeros gives NaN.

    Args:
        pattern: Weights >= 0; rows need not sum to one.
        neighbours: For each row, which patches lie around its own; -1 for none.
        num_prefix: Keys before the patches; they count in the whole.
    """
    return _near(pattern, neighbours, num_prefix) / pattern.sum(dim=-1)


def _near(pattern: Pattern, neighbours: Int[Tensor, "query neighbour"], num_prefix: int) -> PerRow:
    places = neighbours.to(pattern.device)
    index = (places.clamp(min=0) + num_prefix).expand(*pattern.shape[:2], -1, -1)
    return pattern.gather(-1, index).masked_fill(places < 0, 0).sum(dim=-1)


def _of_rows(rows: Rows) -> PerRow:
    """Share on the neighbours; NaN for tokens without a place and where places are unknown."""
    layout = rows.layout
    if layout is None:
        return torch.full(rows.pattern.shape[:-1], torch.nan, device=rows.pattern.device)
    is_patch = rows.queries >= layout.num_prefix
    origin = (rows.queries - layout.num_prefix).clamp(min=0).cpu()
    value = _near(rows.pattern, patch_neighbours(layout)[origin], layout.num_prefix) / rows.total
    return value.masked_fill(~is_patch.to(value.device), torch.nan)


statistics.register("neighbour_mass")(Statistic(_of_rows, "attention on the 8 neighbours"))
