"""A gated MLP: one half of the hidden features decides how much of the other half passes.

SwiGLU of `shazeer2020variants`, without biases, as in `touvron2023llama`.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class GatedMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        """`hidden_dim` counts the features after gating."""
        super().__init__()
        self.gate_up = nn.Linear(embed_dim, 2 * hidden_dim, bias=False)
        self.down = nn.Linear(hidden_dim, embed_dim, bias=False)

    def forward(self, tokens: Float[Tensor, "*lead embed"]) -> Float[Tensor, "*lead embed"]:
        """Every token on its own."""
        return self.down(gated(self.gate_up(tokens)))


def gated(gate_up: Float[Tensor, "*lead double"]) -> Float[Tensor, "*lead hidden"]:
    """The second half of the features, each times the SiLU of its partner in the first half."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up
