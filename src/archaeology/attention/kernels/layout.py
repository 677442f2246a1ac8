"""Which keys a block of neighbouring queries looks at: a window that slides along, or a list of pieces.

Queries are cut into blocks, and every block gets its keys side by side, so that one batched product serves all of a
head. A layout hands keys out (`take`) and collects their gradient again (`give`), where a key that several blocks saw
gets the sum.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows = Float[Tensor, "key dim"]
Parts = Float[Tensor, "block seen dim"]


class Scratch:
    """Memory that is written again and again: it stays in the cache, and the system need not hand out fresh pages."""

    def __init__(self, like: Tensor) -> None:
        """Of the dtype and device of a tensor."""
        self.like = like
        self.buffers: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Float[Tensor, "..."]:
        """The buffer called `name`, with whatever it held; a new one if the shape is another."""
        if name not in self.buffers or self.buffers[name].shape != shape:
            self.buffers[name] = self.like.new_empty(shape)
        return self.buffers[name]


@dataclass(frozen=True)
class Sliding:
    """A window that moves on with the blocks: one overlapping view of the keys, nothing is copied for a block.

    Attributes:
        block: Queries in a block.
        num_blocks: How many blocks.
        query_offset: Absolute position of the first query.
        first: Absolute position of the first key of the first window; may be negative.
        seen: Keys in a window.
        device: Where positions live.
    """

    block: int
    num_blocks: int
    query_offset: int
    first: int
    seen: int
    device: torch.device
    is_uniform = True  # distances of queries and keys are the same in every block

    @cached_property
    def queries(self) -> Int[Tensor, "block slot"]:
        """Absolute positions."""
        count = self.block * self.num_blocks
        return self.query_offset + torch.arange(count, device=self.device).view(self.num_blocks, self.block)

    @cached_property
    def keys(self) -> Int[Tensor, "block seen"]:
        """Absolute positions."""
        starts = self.first + self.block * torch.arange(self.num_blocks, device=self.device)
        return starts[:, None] + torch.arange(self.seen, device=self.device)

    @property
    def last(self) -> int:
        """One beyond the last key of the last window."""
        return self.first + self.block * (self.num_blocks - 1) + self.seen

    def take(self, rows: Rows, scratch: Scratch) -> Parts:
        """The keys of each block: a view of the rows or, where windows stick out, of a padded copy."""
        low, high = max(self.first, 0), min(self.last, len(rows))
        if low == self.first and high == self.last:
            covered = rows[low:high]
        else:
            covered = scratch("taken", self.last - self.first, rows.shape[1]).zero_()
            if low < high:
                covered[low - self.first : high - self.first] = rows[low:high]
        return covered.unfold(0, self.seen, self.block).transpose(1, 2)

    def give(self, parts: Parts, rows: Rows, scratch: Scratch) -> None:
        """Add what each block has for its keys to their rows, in place.

        That takes as many additions as blocks fit into a window.
        """
        steps = -(-self.seen // self.block)
        covered = scratch("given", self.num_blocks + steps - 1, self.block, rows.shape[1]).zero_()
        for step in range(steps):
            piece = parts[:, step * self.block : (step + 1) * self.block]
            covered[step : step + self.num_blocks, : piece.shape[1]] += piece
        low, high = max(self.first, 0), min(self.last, len(rows))
        if low < high:
            rows[low:high] += covered.view(-1, rows.shape[1])[low - self.first : high - self.first]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Pieces of neighbouring keys, listed for every block and copied together.

    Attributes:
        queries: Absolute positions of the queries of each block.
        table: For each block, the numbers of its pieces; -1 where a list is shorter than the longest.
        piece: Keys in a piece.
    """

    queries: Int[Tensor, "block slot"]
    table: Int[Tensor, "block piece"]
    piece: int
    is_uniform = False

    @cached_property
    def keys(self) -> Int[Tensor, "block seen"]:
        """Absolute positions; -1 or less where a list has ended."""
        inside = torch.arange(self.piece, device=self.table.device)
        return (self.table[:, :, None] * self.piece + inside).flatten(1)

    def take(self, rows: Rows, scratch: Scratch) -> Parts:
        """The keys of each block, copied; a list that has ended repeats the first piece, which a mask must hide."""
        width = rows.shape[1]
        pieces = scratch("taken", len(self._flat), self.piece * width)
        torch.index_select(self._whole(rows), 0, self._flat, out=pieces)
        return pieces.view(len(self.table), -1, width)

    def give(self, parts: Parts, rows: Rows, scratch: Scratch) -> None:
        """Add what each block has for its keys to their rows, in place; hidden keys must bring zeros."""
        total = self._whole(torch.zeros_like(rows))
        total.index_add_(0, self._flat, parts.reshape(len(self._flat), -1))
        rows += total.view(-1, rows.shape[1])[: len(rows)]

    @cached_property
    def _flat(self) -> Int[Tensor, " listed"]:
        return self.table.clamp(min=0).flatten()

    def _whole(self, rows: Rows) -> Float[Tensor, "pieces numbers"]:
        """Rows as whole pieces, the last one filled up with zeros."""
        missing = -len(rows) % self.piece
        if missing:
            rows = torch.cat([rows, rows.new_zeros(missing, rows.shape[1])])
        return rows.reshape(-1, self.piece * rows.shape[1])


Layout = Sliding | Gathered
