"""Learn how much each distance is worth: a number per head and distance, added to the score.

On a grid it is the table of `liu2021swin`, with a number for every pair of row and column differences; in a sequence
that of `raffel2020exploring`. Differs: in a sequence every distance up to `max_distance` has its own number, and all
beyond share the last one, instead of buckets that widen; tables are (head, entry), which reads fastest.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.attention.biases import looked_up

Index = Int[Tensor, "..."]


class RelativeBias(nn.Module):
    """A learned number for each head and each distance in a sequence, ahead and back apart."""

    by_distance = (
        True  # whether nothing but the distance counts, so that a kernel need not ask for every block
    )

    def __init__(self, num_heads: int, max_distance: int) -> None:
        """Distances beyond `max_distance` are treated as that one.

        Raises:
            ValueError: If there is no head or the distance is negative.
        """
        super().__init__()
        if num_heads < 1 or max_distance < 0:
            raise ValueError(
                f"a relative bias needs num_heads >= 1 and max_distance >= 0, but got {num_heads=}, {max_distance=}."
            )
        self.max_distance = max_distance
        self.table = nn.Parameter(_fresh(num_heads, 2 * max_distance + 1))

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The number of each pair: entry `max_distance` is distance 0, larger ones are keys further back."""
        farthest = self.max_distance
        return looked_up(self.table, head, (query - key).clamp(-farthest, farthest) + farthest)

    def resized(self, max_distance: int) -> "RelativeBias":
        """For sequences of another length: the same curve, stretched linearly."""
        other = RelativeBias(len(self.table), max_distance).to(self.table)
        size = 2 * max_distance + 1
        with torch.no_grad():
            stretched = F.interpolate(self.table[None].float(), size=size, mode="linear", align_corners=True)
            other.table.copy_(stretched[0])
        return other


class GridBias(nn.Module):
    """A learned number for each head and each difference of rows and columns; 0 where a prefix token takes part."""

    def __init__(self, num_heads: int, grid: tuple[int, int], *, num_prefix: int = 0) -> None:
        """Build with a fresh table.

        Args:
            num_heads: Heads.
            grid: Rows and columns.
            num_prefix: Tokens before the grid: class token, registers.

        Raises:
            ValueError: If there is no head or the grid is empty.
        """
        super().__init__()
        if num_heads < 1 or min(grid) < 1:
            raise ValueError(
                f"a grid bias needs heads and a grid that is not empty, but got {num_heads=}, {grid=}."
            )
        self.grid, self.num_prefix = grid, num_prefix
        self.table = nn.Parameter(_fresh(num_heads, (2 * grid[0] - 1) * (2 * grid[1] - 1)))

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The number of each pair of places."""
        rows, columns = self.grid
        query, key = query - self.num_prefix, key - self.num_prefix
        down = query.div(columns, rounding_mode="floor") - key.div(columns, rounding_mode="floor")
        entry = grid_entry(down, query % columns - key % columns, self.grid)
        found = looked_up(self.table, head, entry.clamp(0, (2 * rows - 1) * (2 * columns - 1) - 1))
        return found.masked_fill((query < 0) | (key < 0), 0) if self.num_prefix else found

    def resized(self, grid: tuple[int, int]) -> "GridBias":
        """For another grid: the same surface, stretched bicubically; tokens before the grid are left alone."""
        other = GridBias(len(self.table), grid, num_prefix=self.num_prefix).to(self.table)
        with torch.no_grad():
            other.table.copy_(resized_grid_table(self.table, self.grid, grid))
        return other


def grid_entry(down: Index, right: Index, grid: tuple[int, int]) -> Index:
    """Where the table keeps the number for a query that lies `down` rows and `right` columns beyond its key."""
    rows, columns = grid
    return (down + rows - 1) * (2 * columns - 1) + right + columns - 1


def resized_grid_table(
    table: Float[Tensor, "head entry"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "head new_entry"]:
    """The table of a grid (or window) as that of another one."""
    shape, size = (2 * old[0] - 1, 2 * old[1] - 1), (2 * new[0] - 1, 2 * new[1] - 1)
    surface = table.float().reshape(1, -1, *shape)
    stretched = F.interpolate(surface, size=size, mode="bicubic", align_corners=False)
    return stretched.flatten(2)[0].to(table.dtype)


def _fresh(num_heads: int, entries: int) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(num_heads, entries), std=0.02)
