"""A block of a transformer: attend, then think; both add what they found to the token.

Both read a normalised copy ("pre"), so that tokens pass through untouched, or what is added up is normalised ("post"),
as in `vaswani2017attention`, which does not train deep networks without a warm-up (`xiong2020layer`).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.models.drop_path import DropPath

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}
NORMS = ("pre", "post")


class LayerScale(nn.Module):
    """A learned factor for every feature of a branch, small at first (`touvron2021going`)."""

    def __init__(self, embed_dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((embed_dim,), float(initial)))

    def forward(self, branch: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """The branch, scaled."""
        return branch * self.gamma.to(branch.dtype)


class Block(nn.Module):
    """Any attention, then an MLP."""

    def __init__(
        self,
        attention: nn.Module,
        embed_dim: int,
        mlp_ratio: float,
        activation: str,
        *,
        norm: str = "pre",
        norm_eps: float = 1e-5,
        layer_scale: float | None = None,
    ) -> None:
        """Build around `attention`; branches are never dropped until `set_drop_path` says so.

        Args:
            attention: From tokens to tokens.
            embed_dim: Features of a token.
            mlp_ratio: Hidden features of the MLP over embed_dim.
            activation: One of `ACTIVATIONS`.
            norm: "pre" or "post".
            norm_eps: Added to the variance that is divided by.
            layer_scale: First value of the factors of both branches; no factors if None.

        Raises:
            ValueError: If a word is unknown.
        """
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, but got {norm!r}.")
        self.is_pre = norm == "pre"
        self.norm1 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.mlp = mlp(embed_dim, mlp_ratio, activation)
        self.scale1, self.scale2 = (
            nn.Identity() if layer_scale is None else LayerScale(embed_dim, layer_scale) for _ in range(2)
        )
        self.drop_path = DropPath()

    def forward(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Tokens after one round of looking and thinking."""
        if self.is_pre:
            tokens = tokens + self.drop_path(self.scale1(self.attn(self.norm1(tokens))))
            return tokens + self.drop_path(self.scale2(self.mlp(self.norm2(tokens))))
        tokens = self.norm1(tokens + self.drop_path(self.scale1(self.attn(tokens))))
        return self.norm2(tokens + self.drop_path(self.scale2(self.mlp(tokens))))


def mlp(embed_dim: int, mlp_ratio: float, activation: str) -> nn.Sequential:
    """Widen every token by `mlp_ratio`, bend it, and bring it back.

    Raises:
        ValueError: If the activation is unknown.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, but got {activation!r}.")
    hidden = int(embed_dim * mlp_ratio)
    return nn.Sequential(
        nn.Linear(embed_dim, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, embed_dim)
    )
