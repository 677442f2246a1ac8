"""A convolutional network for signals: neighbourhoods of tokens, ever wider, until the last ones span the signal.

Convolutions whose dilation doubles from layer to layer (`yu2016multi`), in residual blocks.
"""

from jaxtyping import Float
from torch import Tensor, nn

from archaeology.models.registry import models
from archaeology.models.signal import Signal, SignalHead, SignalStem


class DilatedBlock(nn.Module):
    """Normalise, look at tokens that lie `dilation` apart, and add what was found."""

    def __init__(self, embed_dim: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        self.conv = nn.Conv1d(
            embed_dim, embed_dim, kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation
        )
        self.activation = nn.GELU()
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Tokens after one look."""
        maps = self.conv(self.norm(tokens).transpose(1, 2))
        return tokens + self.proj(self.activation(maps.transpose(1, 2)))


@models.register("convnet1d")
class ConvNet1D(nn.Module):
    """Signals in, signals of the same length out, by convolutions alone.

    Attributes:
        patch_size: Samples of a token; token n stands for the n-th patch.
        dilations: Of each block, in tokens.
    """

    def __init__(
        self,
        length: int = 500,
        patch_size: int = 4,
        *,
        embed_dim: int = 80,
        depth: int = 6,
        kernel_size: int = 5,
    ) -> None:
        """Build with fresh weights; the first answers are near zero.

        Args:
            length: Samples of a signal; patch_size divides it.
            patch_size: Samples of a token.
            embed_dim: Features of a token.
            depth: Blocks. Dilations double from block to block and start again once they reach across the signal.
            kernel_size: Tokens that one convolution reads; odd.

        Raises:
            ValueError: If the sizes do not fit.
        """
        super().__init__()
        if depth < 1 or kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(
                f"depth must be >= 1 and kernel_size odd and >= 3, but got {depth=}, {kernel_size=}."
            )
        self.patch_size = patch_size
        self.stem = SignalStem(length, patch_size, embed_dim)
        self.dilations = dilations(length // patch_size, depth, kernel_size)
        self.blocks = nn.ModuleList(
            DilatedBlock(embed_dim, kernel_size, dilation) for dilation in self.dilations
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = SignalHead(patch_size, embed_dim)

    def forward(self, signals: Signal) -> Signal:
        """The signals redrawn."""
        tokens = self.stem(signals).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens).transpose(1, 2))


def dilations(num_tokens: int, depth: int, kernel_size: int) -> tuple[int, ...]:
    """1, 2, 4, ... until every token has seen every other one, then again from 1, for `depth` blocks."""
    cycle = 1
    while kernel_size // 2 * (2**cycle - 1) < num_tokens - 1:
        cycle += 1
    return tuple(2 ** (block % cycle) for block in range(depth))
