"""Neighbouring blocks, two global blocks and a few random ones: random shortcuts make long ways short.

`zaheer2020big`, in blocks as its section "Implementation" says: a block of queries sees itself, one block to each
side, the first and the last block, and `num_random` others; the first and the last see all. Differs: the key blocks
that a query block sees are a set (an implementation that lists them counts a block twice in the softmax when the
random choice repeats it), and any length will do.
"""

from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.attention.biases import Bias
from archaeology.attention.masks import Allowed, BlockMap, Index, Mask, Spans
from archaeology.attention.mechanism import Facts, LayerShape, mechanisms
from archaeology.attention.softmax import Softmax


class BlockTable(Mask):
    """Which blocks of queries see which blocks of keys, in each head."""

    def __init__(self, table: Bool[Tensor, "head query_block key_block"], block_size: int) -> None:
        """`table` may have one head for all; blocks are counted from position 0."""
        self.table, self.block_size = table, block_size
        self.by_head = len(table) > 1
        # Sums over all blocks before, so that the count in any rectangle takes four look-ups.
        self.sums = torch.nn.functional.pad(table.long().cumsum(1).cumsum(2), (1, 0, 1, 0))

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether the query's block sees the key's."""
        head = head if self.by_head else torch.zeros_like(head)
        return self.table[head, query // self.block_size, key // self.block_size]

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """Count what is seen among the blocks that the spans touch."""
        top, bottom = query.first[:, None] // self.block_size, query.last[:, None] // self.block_size + 1
        left, right = key.first // self.block_size, key.last // self.block_size + 1
        sums = self.sums
        seen = sums[:, bottom, right] - sums[:, top, right] - sums[:, bottom, left] + sums[:, top, left]
        return BlockMap(some=seen > 0, every=seen == (bottom - top) * (right - left))


def blocks_seen(
    num_blocks: int, table: Int[Tensor, "head block random"]
) -> Bool[Tensor, "head block key_block"]:
    """Which blocks each block sees: neighbours, the first and the last, and those that `table` lists."""
    place = torch.arange(num_blocks, device=table.device)
    near = (place[:, None] - place).abs() <= 1
    ends = (place == 0) | (place == num_blocks - 1)
    seen = (near | ends | ends[:, None]).repeat(len(table), 1, 1)
    return seen.scatter(2, table, True)


def random_blocks(
    num_heads: int, num_blocks: int, num_random: int, generator: torch.Generator
) -> Int[Tensor, "head block random"]:
    """For each block, `num_random` different ones out of those that it does not see anyway, as far as there are."""
    none = torch.zeros(num_heads, num_blocks, 0, dtype=torch.long)
    chance = torch.rand(num_heads, num_blocks, num_blocks, generator=generator)
    chance = chance.masked_fill(blocks_seen(num_blocks, none), -1)
    return chance.topk(min(num_random, num_blocks), dim=-1).indices


@mechanisms.register("big_bird")
class BigBird(Softmax):
    """Exact attention to neighbouring, global and random blocks."""

    supports = Softmax.supports - {"cross", "cache"}  # which block is the last depends on the length
    facts = Facts(
        title="BigBird",
        formula="softmax(QK^T / sqrt(d) where the block of i sees that of j: near, first, last or random) V",
        time="N (5 + r) b d",
        memory="N (5 + r) b",
        relation="sparse",
        source="zaheer2020big",
    )

    def __init__(
        self,
        *,
        num_heads: int = 1,
        block_size: int = 64,
        num_random: int = 3,
        seed: int = 0,
        table: Int[Tensor, "head block random"] | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        """Choose the random blocks.

        Args:
            num_heads: Heads with a choice of their own; 1 if all share one.
            block_size: Tokens in a block.
            num_random: Random blocks that each block sees.
            seed: Where the choice starts; the same seed and length give the same blocks.
            table: The choice itself, for every block of the sequence, instead of one by chance.
            scale: As in `Softmax`.
            dropout: Likewise.
            kernel: Likewise.

        Raises:
            ValueError: If a number is too small.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        if num_heads < 1 or block_size < 1 or num_random < 0:
            raise ValueError(
                "num_heads and block_size must be 1 or more and num_random 0 or more, but got "
                f"{num_heads=}, {block_size=}, {num_random=}."
            )
        self.num_heads = num_heads if table is None else len(table)
        self.block_size, self.num_random, self.seed = block_size, num_random, seed
        self.given = None if table is None else BlockTable(blocks_seen(table.shape[1], table), block_size)

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "BigBird":
        """Every head of the layer makes its own choice."""
        return cls(num_heads=options.pop("num_heads", shape.num_heads), **options)

    def redraw(self, generator: torch.Generator) -> None:
        """Choose other random blocks."""
        self.seed, self.given = int(torch.randint(2**31, (), generator=generator)), None

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """The blocks seen at this length; the same for the same choice.

        Raises:
            ValueError: If a table was given for another number of blocks.
        """
        num_blocks = -(-num_tokens // self.block_size)
        if self.given is None:
            return _chosen(self.num_heads, num_blocks, self.num_random, self.seed, self.block_size, device)
        if self.given.table.shape[1] != num_blocks:
            raise ValueError(
                f"table must list random blocks for each of {num_blocks} blocks of {self.block_size} tokens, but "
                f"got a table for {self.given.table.shape[1]}."
            )
        if self.given.table.device != device:
            self.given = BlockTable(self.given.table.to(device), self.block_size)
        return self.given

    def check(
        self, query: Tensor, key: Tensor, mask: Mask | None, bias: Bias | None, query_offset: int
    ) -> None:
        """Raise if the choice is for other heads, or what else is asked for cannot be done."""
        super().check(query, key, mask, bias, query_offset)
        if self.num_heads not in (1, query.shape[1]):
            raise ValueError(
                f"num_heads must be 1 or the heads of the queries, but got {self.num_heads} and {query.shape[1]}."
            )


@lru_cache(maxsize=32)
def _chosen(
    num_heads: int, num_blocks: int, num_random: int, seed: int, block_size: int, device: torch.device
) -> BlockTable:
    """One mask for one choice, so that kernels can remember how they computed it."""
    generator = torch.Generator().manual_seed(seed)
    table = random_blocks(num_heads, num_blocks, num_random, generator)
    return BlockTable(blocks_seen(num_blocks, table).to(device), block_size)
