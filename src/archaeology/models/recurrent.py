"""A recurrent network for signals: read token after token from both ends, and remember.

Gated recurrent units (`cho2014learning`) or long short-term memory (`hochreiter1997long`), in both directions
(`schuster1997bidirectional`).
"""

from torch import nn

from archaeology.models.registry import models
from archaeology.models.signal import Signal, SignalHead, SignalStem

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


@models.register("recurrent")
class Recurrent(nn.Module):
    """Signals in, signals of the same length out, by memories that run along the signal in both directions.

    Attributes:
        patch_size: Samples of a token; token n stands for the n-th patch.
    """

    def __init__(
        self,
        length: int = 500,
        patch_size: int = 4,
        *,
        embed_dim: int = 112,
        depth: int = 3,
        cell: str = "gru",
    ) -> None:
        """Build with fresh weights; the first answers are near zero.

        Args:
            length: Samples of a signal; patch_size divides it.
            patch_size: Samples of a token.
            embed_dim: Features of a token, half of them from each direction; even.
            depth: Layers, each of both directions.
            cell: "gru" or "lstm".

        Raises:
            ValueError: If the sizes do not fit or the cell is unknown.
        """
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, but got {cell!r}.")
        if depth < 1 or embed_dim % 2:
            raise ValueError(f"depth must be >= 1 and embed_dim even, but got {depth=}, {embed_dim=}.")
        self.patch_size = patch_size
        self.stem = SignalStem(length, patch_size, embed_dim)
        self.memory = CELLS[cell](embed_dim, embed_dim // 2, depth, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(embed_dim)
        self.head = SignalHead(patch_size, embed_dim)

    def forward(self, signals: Signal) -> Signal:
        """The signals redrawn."""
        remembered, _ = self.memory(self.stem(signals).transpose(1, 2))
        return self.head(self.norm(remembered).transpose(1, 2))
