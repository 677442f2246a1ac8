"""A transformer for signals: tokens of a few samples look at one another, by any mechanism and with any positions.

`vaswani2017attention`, the encoder, with blocks that normalise first. Differs: ends that convolve, so that a token
knows its surroundings before it looks further.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from archaeology.attention.build import attention_layer
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.position_scheme import position_scheme
from archaeology.models.block import Block
from archaeology.models.registry import models
from archaeology.models.signal import Signal, SignalHead, SignalStem


@models.register("attention1d")
class Attention1D(nn.Module):
    """Signals in, signals of the same length out, by attention; `blocks.N.attn` is where tokens look.

    Attributes:
        patch_size: Samples of a token; token n stands for samples n * patch_size and following.
    """

    def __init__(
        self,
        length: int = 500,
        patch_size: int = 4,
        *,
        embed_dim: int = 96,
        depth: int = 3,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        attention: str = "softmax",
        attention_options: Mapping[str, Any] | None = None,
        positions: str = "sinusoidal",
    ) -> None:
        """Build with fresh weights; the first answers are near zero.

        Args:
            length: Samples of a signal; patch_size divides it.
            patch_size: Samples of a token.
            embed_dim: Features of a token; num_heads divides it, and 2 where positions are sinusoidal.
            depth: Blocks.
            num_heads: Heads of every block.
            mlp_ratio: Hidden features of the MLP over embed_dim.
            attention: How tokens look at one another: a registered mechanism or layer of `archaeology.attention`.
            attention_options: What to build it with.
            positions: A scheme of `archaeology.attention.position_scheme`, along the signal.

        Raises:
            ValueError: If the sizes do not fit or a word is unknown.
        """
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be >= 1, but got {depth}.")
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        self.patch_size = patch_size
        self.stem = SignalStem(length, patch_size, embed_dim)
        shape = LayerShape(num_heads, embed_dim // num_heads, length // patch_size)
        scheme = position_scheme(positions, shape)
        self.positions = scheme.added
        layers = [
            attention_layer(attention, shape, positions=scheme.inside(), options=attention_options)
            for _ in range(depth)
        ]
        self.blocks = nn.ModuleList(Block(layer, embed_dim, mlp_ratio, "gelu") for layer in layers)
        self.norm = nn.LayerNorm(embed_dim)
        self.head = SignalHead(patch_size, embed_dim)

    def forward(self, signals: Signal) -> Signal:
        """The signals redrawn."""
        tokens = self.positions(self.stem(signals).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).transpose(1, 2))
