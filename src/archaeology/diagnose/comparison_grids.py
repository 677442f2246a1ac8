"""Patterns of one model on two grids of patches, brought to the same grid: what lies in a cell is put together.

An image of another size has another grid, but the same picture lies on it. A cell of the coarser grid takes from each
patch the share of its area that it covers: attention to keys is added up, so none is lost, that of queries is averaged.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Pattern
from archaeology.specimens.layout import TokenLayout


@dataclass(frozen=True)
class CommonGrid:
    """The tokens of two models, on the coarser grid of the two.

    Attributes:
        first: Tokens of one model.
        second: Of the other.
    """

    first: TokenLayout
    second: TokenLayout

    @property
    def layout(self) -> TokenLayout:
        """The tokens both are brought to."""
        rows, columns = (min(getattr(self.first, side), getattr(self.second, side)) for side in SIDES)
        return replace(self.first, rows=rows, columns=columns)

    def why_not(self) -> str | None:
        """Why their patterns cannot be laid on one another; None if they can."""
        if self.first.prefix != self.second.prefix:
            return f"their tokens before the patches differ: {self.first.prefix} and {self.second.prefix}"
        if "windows" in (self.first.order, self.second.order) and self.first != self.second:
            return "their layers see windows, and windows on grids of two sizes show other parts of the image"
        return None

    def pooled(
        self, pattern: Pattern, layout: TokenLayout
    ) -> Float[Tensor, "batch head cell_query cell_key"]:
        """A pattern among the tokens of `layout`, among those of the common grid instead."""
        if layout == self.layout:
            return pattern
        cells = tokens_in_cells(layout, self.layout).to(pattern)
        return (cells / cells.sum(dim=1, keepdim=True)) @ pattern @ cells.T


SIDES = ("rows", "columns")


def tokens_in_cells(fine: TokenLayout, coarse: TokenLayout) -> Float[Tensor, "cell token"]:
    """The share of each token that lies in each cell; tokens before the patches are cells of their own."""
    rows, columns = (shares(getattr(fine, side), getattr(coarse, side)) for side in SIDES)
    prefix = torch.eye(fine.num_prefix, dtype=torch.float64)
    return torch.block_diag(prefix, torch.kron(rows, columns)).float()


def shares(fine: int, coarse: int) -> Float[Tensor, "coarse fine"]:
    """Which share of each of `fine` equal pieces of a line lies in each of `coarse` equal pieces of it."""
    small, large = torch.arange(fine, dtype=torch.float64), torch.arange(coarse, dtype=torch.float64)
    start = torch.maximum(small[None] / fine, large[:, None] / coarse)
    end = torch.minimum((small[None] + 1) / fine, (large[:, None] + 1) / coarse)
    return (end - start).clamp(min=0) * fine
