"""Neighbour mass says how much a patch looks at the patches around it: the reach of a 3 x 3 convolution.

`cordonnier2020relationship` show that heads can express convolutions, each looking at one of the patches around; here
the eight count together and the patch itself does not (diagonal mass).
"""

from functools import lru_cache

import torch
from jaxtyping import Bool
from torch import Tensor

from archaeology.core.shapes import Pattern
from archaeology.specimens.layout import TokenLayout
from archaeology.stats.rows import PerRow, Rows, Statistic, statistics


@lru_cache(maxsize=8)
def patch_neighbours(layout: TokenLayout) -> Bool[Tensor, "query key"]:
    """Whether two patches touch, also by a corner; none is its own neighbour. At the border there are fewer."""
    place = torch.cartesian_prod(torch.arange(layout.rows), torch.arange(layout.columns))
    return (place[:, None] - place[None]).abs().amax(dim=-1) == 1


def neighbour_mass(
    pattern: Pattern, is_neighbour: Bool[Tensor, "query patch"], num_prefix: int = 0
) -> PerRow:
    """Share of every row's attention that goes to the neighbours of its patch; a row of zeros gives NaN.

    Args:
        pattern: Weights >= 0; rows need not sum to one.
        is_neighbour: For each row, which patches lie around its own.
        num_prefix: Keys before the patches; they count in the whole.
    """
    near = torch.linalg.vecdot(pattern[..., num_prefix:], is_neighbour.to(pattern))
    return near / pattern.sum(dim=-1)


def _of_rows(rows: Rows) -> PerRow:
    """Share on the neighbours; NaN for tokens without a place and where places are unknown."""
    layout = rows.layout
    if layout is None:
        return torch.full(rows.pattern.shape[:-1], torch.nan, device=rows.pattern.device)
    is_patch = rows.queries >= layout.num_prefix
    origin = (rows.queries - layout.num_prefix).clamp(min=0).cpu()
    value = neighbour_mass(rows.pattern, patch_neighbours(layout)[origin], layout.num_prefix)
    return value.masked_fill(~is_patch.to(value.device), torch.nan)


statistics.register("neighbour_mass")(Statistic(_of_rows, "attention on the 8 neighbours"))
