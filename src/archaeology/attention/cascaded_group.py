"""Give every head its own slice of the features, and let each head also see what the one before it found.

`liu2023efficientvit`, section 3.2: slices are cheaper than projecting all features for all heads, and the cascade makes
heads unlike one another: the output of a head is added to the input of the next before that is projected. Queries pass
a depthwise convolution, so that they know their neighbourhood, and scores get a learned number for every distance in
rows and columns, whichever the direction. Differs: grids need not be square, and biases are never kept between calls,
where timm goes on with old ones if they are changed, or weights loaded, after a pass in evaluation.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.attention.biases import looked_up
from archaeology.attention.layers import Layer, layers
from archaeology.attention.mechanism import Ability, Facts, LayerShape
from archaeology.attention.softmax import Softmax

Index = Int[Tensor, "..."]
Map = Float[Tensor, "batch channel row column"]


class UnsignedGridBias:
    """A number for each head and each distance in rows and columns."""

    def __init__(self, table: Float[Tensor, "head entry"], grid: tuple[int, int]) -> None:
        """`table` has an entry for each cell: that of its distance from the first cell."""
        self.table, self.grid = table, grid

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The number of each pair."""
        columns = self.grid[1]
        down = query.div(columns, rounding_mode="floor") - key.div(columns, rounding_mode="floor")
        entry = down.abs() * columns + (query % columns - key % columns).abs()
        return looked_up(self.table, head, entry)


@layers.register("cascaded_group")
class CascadedGroupAttention(Layer):
    """Heads in a cascade, each on its own slice of the features; normalised over the batch in training."""

    supports: ClassVar[frozenset[Ability]] = frozenset()
    facts: ClassVar[Facts] = Facts(
        title="Cascaded group attention",
        formula="Y_h = softmax(dwconv(Q_h) K_h^T / sqrt(d) + B) V_h, all from X_h + Y_(h-1)",
        time="N^2 d",
        memory="N^2",
        relation="exact",
        source="liu2023efficientvit",
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "CascadedGroupAttention":
        """For a grid without prefix tokens; queries and keys have the paper's 16 features."""
        if shape.grid is None or shape.num_prefix:
            raise ValueError(
                "cascaded group attention needs a grid and no tokens before it, but got "
                f"grid={shape.grid}, num_prefix={shape.num_prefix}."
            )
        sizes = {"key_dim": 16, **options}
        return cls(shape.num_heads * shape.head_dim, shape.num_heads, grid=shape.grid, **sizes)

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        key_dim: int,
        grid: tuple[int, int],
        *,
        kernel_sizes: Sequence[int] | None = None,
    ) -> None:
        """Build with fresh weights and biases of zero.

        Args:
            embed_dim: Features of a token; each head gets `embed_dim / num_heads`, and has as many values.
            num_heads: Heads.
            key_dim: Features of queries and keys; the paper takes 16.
            grid: Rows and columns of the tokens.
            kernel_sizes: Side of each head's convolution, odd; 5 for all if None.

        Raises:
            ValueError: If sizes do not fit.
        """
        super().__init__()
        sizes = (5,) * num_heads if kernel_sizes is None else tuple(kernel_sizes)
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        if key_dim < 1 or min(grid) < 1:
            raise ValueError(f"key_dim and the grid must not be empty, but got {key_dim=}, {grid=}.")
        if len(sizes) != num_heads or any(size < 1 or size % 2 == 0 for size in sizes):
            raise ValueError(
                f"kernel_sizes must be an odd number for each of {num_heads} heads, but got {sizes}."
            )
        self.num_heads, self.key_dim, self.grid = num_heads, key_dim, grid
        self.value_dim = embed_dim // num_heads
        width = 2 * key_dim + self.value_dim
        self.qkv = nn.ModuleList(_normalised(nn.Conv2d(self.value_dim, width, 1, bias=False)) for _ in sizes)
        self.local = nn.ModuleList(
            _normalised(nn.Conv2d(key_dim, key_dim, size, padding=size // 2, groups=key_dim, bias=False))
            for size in sizes
        )
        self.table = nn.Parameter(torch.zeros(num_heads, grid[0] * grid[1]))
        self.mechanism = Softmax()
        self.proj = nn.Sequential(nn.ReLU(), *_normalised(nn.Conv2d(embed_dim, embed_dim, 1, bias=False)))

    def forward(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Every token gathers from all tokens, head after head.

        Raises:
            ValueError: If there are more or fewer tokens than cells.
        """
        found = torch.cat([answer for _, _, answer in self._cascade(tokens, self.num_heads)], dim=1)
        return rearrange(self.proj(found), "batch embed row column -> batch (row column) embed")

    def pattern(
        self,
        tokens: Float[Tensor, "batch token embed"],
        *,
        rows: Int[Tensor, " row"] | None = None,
        heads: Int[Tensor, " asked"] | None = None,
    ) -> Float[Tensor, "batch asked row key"]:
        """Who looks at whom: the pattern of the asked rows and heads, in evaluation, whatever the mode is now."""
        asked = list(range(self.num_heads)) if heads is None else [int(head) for head in heads]
        was_training = self.training
        self.eval()
        try:
            found = {
                head: self.mechanism.pattern(query, key, bias=self.bias(head), rows=rows)
                for head, (query, key, _) in enumerate(self._cascade(tokens, 1 + max(asked, default=-1)))
                if head in asked
            }
        finally:
            self.train(was_training)
        return torch.cat([found[head] for head in asked], dim=1)

    def bias(self, head: int) -> UnsignedGridBias:
        """What is added to the scores of one head."""
        return UnsignedGridBias(self.table[head : head + 1], self.grid)

    def _cascade(self, tokens: Tensor, num_heads: int) -> Iterator[tuple[Tensor, Tensor, Map]]:
        """Query, key and answer of each of the first heads, in turn."""
        rows, columns = self.grid
        if tokens.shape[1] != rows * columns:
            raise ValueError(
                f"the grid of {rows} x {columns} has {rows * columns} tokens, but got {tokens.shape[1]}; leave "
                "prefix tokens out."
            )
        picture = rearrange(tokens, "batch (row column) embed -> batch embed row column", row=rows)
        slices, answer = picture.chunk(self.num_heads, dim=1), None
        for head in range(num_heads):
            seen = slices[head] if answer is None else slices[head] + answer
            query, key, value = self.qkv[head](seen).split(
                [self.key_dim, self.key_dim, self.value_dim], dim=1
            )
            query, key, value = (
                rearrange(part, "batch dim row column -> batch 1 (row column) dim")
                for part in (self.local[head](query), key, value)
            )
            mixed = self.mechanism(query, key, value, bias=self.bias(head))
            answer = rearrange(mixed, "batch 1 (row column) dim -> batch dim row column", row=rows)
            yield query, key, answer


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
