"""A sliding window, and a few global tokens that see all and are seen by all: any two tokens are two steps apart.

`beltagy2020longformer`. Differs: the global tokens are the first ones, as class token and registers are, and use the
same projections as the others, so that one softmax serves every row (the original gives them projections of their own).
"""

from typing import Any

import torch

from archaeology.attention.masks import Mask, band, global_tokens
from archaeology.attention.mechanism import Facts, LayerShape, mechanisms
from archaeology.attention.softmax import Softmax


@mechanisms.register("longformer")
class Longformer(Softmax):
    """Exact attention to the neighbours and to the global tokens."""

    supports = Softmax.supports - {"cross"}
    facts = Facts(
        title="Longformer",
        formula="softmax(QK^T / sqrt(d) where |i - j| <= r, or i or j is one of g global tokens) V",
        time="N (r + g) d",
        memory="N (r + g)",
        relation="sparse",
        source="beltagy2020longformer",
    )

    def __init__(
        self,
        *,
        radius: int = 128,
        num_global: int = 1,
        scale: float | None = None,
        dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        """`radius` counts the neighbours on each side, `num_global` the global tokens at the start.

        Raises:
            ValueError: If one of them is negative.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        self.local_and_global = band(radius) | global_tokens(num_global)

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Longformer":
        """Tokens before a grid are global, unless `num_global` says otherwise."""
        return cls(num_global=options.pop("num_global", max(1, shape.num_prefix)), **options)

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """Window and global tokens, whatever the length."""
        return self.local_and_global
