"""One attention layer that says a sequence backwards: each token has to find the one at the mirrored place.

Nothing but places can tell where to look, so its pattern becomes the anti-diagonal. The places are added to queries and
keys only (`carion2020end`): added to the values too, they would have to be unlearned from every answer, and the
error stays near 0.12 instead of 0.001.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.models.registry import models


@models.register("sequence_reverser")
class SequenceReverser(nn.Module):
    """Learned places and one layer of self-attention."""

    def __init__(self, num_tokens: int = 10, embed_dim: int = 64, num_heads: int = 4) -> None:
        """For sequences of `num_tokens` vectors of `embed_dim` numbers.

        Raises:
            ValueError: If `num_heads` does not divide `embed_dim`.
        """
        super().__init__()
        self.attention = MultiHeadAttention(embed_dim, num_heads)
        self.places = nn.Parameter(torch.randn(num_tokens, embed_dim))
        for layer in (self.attention.qkv, self.attention.proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """The sequence as the layer says it."""
        return self.attention(tokens, places=self.places)

    def pattern(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch head token token"]:
        """Who looks at whom."""
        return self.attention.pattern(tokens, places=self.places)
