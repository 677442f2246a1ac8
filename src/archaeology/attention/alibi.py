"""Prefer what is near: subtract from every score the distance times a slope, steep in some heads and flat in others.

`press2022train`; nothing is learned, and longer sequences need nothing new. Differs: the distance counts to both
sides, so that it serves without a causal mask too, and on a grid it is the straight line between two cells
(`fuller2023croma`).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Index = Int[Tensor, "..."]


@dataclass(frozen=True)
class Alibi:
    """A bias of `-slope * distance` in a sequence; `num_heads` heads have as many slopes."""

    num_heads: int
    by_distance = (
        True  # whether nothing but the distance counts, so that a kernel need not ask for every block
    )

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The penalty of each pair."""
        return -_slope(self.num_heads, head) * (query - key).abs()


@dataclass(frozen=True)
class GridAlibi:
    """A bias of `-slope * distance` between the cells of a grid; none from or to a token before the grid.

    Attributes:
        num_heads: Heads, each with its slope.
        grid: Rows and columns.
        num_prefix: Tokens before the grid: class token, registers.
    """

    num_heads: int
    grid: tuple[int, int]
    num_prefix: int = 0

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The penalty of each pair."""
        columns = self.grid[1]
        query, key = query - self.num_prefix, key - self.num_prefix
        down = query.div(columns, rounding_mode="floor") - key.div(columns, rounding_mode="floor")
        distance = torch.hypot(down.float(), (query % columns - key % columns).float())
        return -_slope(self.num_heads, head) * distance.masked_fill((query < 0) | (key < 0), 0)


def slopes(num_heads: int) -> list[float]:
    """One slope for each head: 2^-(8/n), its square, its cube and so on to 2^-8.

    Where n is no power of two, the slopes of the power below come first, then every other one of the power above.

    Raises:
        ValueError: If there is no head.
    """
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, but got {num_heads}.")
    below = 2 ** math.floor(math.log2(num_heads))
    first = [2 ** (-8 * (i + 1) / below) for i in range(below)]
    between = [2 ** (-4 * (2 * i + 1) / below) for i in range(num_heads - below)]
    return first + between


def _slope(num_heads: int, head: Index) -> Float[Tensor, "..."]:
    return torch.tensor(slopes(num_heads), device=head.device)[head]
