"""A block of a transformer: attend, then think; both read a normalised copy and add to the token (pre-norm)."""

from jaxtyping import Float
from torch import Tensor, nn

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


class Block(nn.Module):
    """Any attention, then an MLP."""

    def __init__(self, attention: nn.Module, embed_dim: int, mlp_ratio: float, activation: str) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = mlp(embed_dim, mlp_ratio, activation)

    def forward(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Tokens after one round of looking and thinking."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


def mlp(embed_dim: int, mlp_ratio: float, activation: str) -> nn.Sequential:
    """Widen every token by `mlp_ratio`, bend it, and bring it back."""
    hidden = int(embed_dim * mlp_ratio)
    return nn.Sequential(
        nn.Linear(embed_dim, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, embed_dim)
    )
