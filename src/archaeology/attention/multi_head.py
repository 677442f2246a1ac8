"""Several small attentions side by side: each head has its own idea of what is worth looking at."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.softmax import attend


class MultiHeadAttention(nn.Module):
    """Self-attention: project to queries, keys and values, attend in every head, project back.

    `vaswani2017attention`, section 3.2.2.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        """Args: `embed_dim` features of a token, shared out evenly over `num_heads`."""
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Every token gathers from all tokens."""
        query, key, value = rearrange(
            self.qkv(tokens),
            "batch token (part head dim) -> part batch head token dim",
            part=3,
            head=self.num_heads,
        )
        return self.proj(
            rearrange(attend(query, key, value), "batch head token dim -> batch token (head dim)")
        )
