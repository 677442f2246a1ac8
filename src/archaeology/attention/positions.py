"""Attention sees a set, not an order: position features, added to the tokens, tell it where each patch lies."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

POSITIONS = ("none", "linear", "learnable", "sinusoidal")


class GridPositions(nn.Module):
    """Features for every cell of a `rows` x `columns` grid, added to the patch tokens.

    Four kinds: "none" adds nothing; "linear" is a learned linear map of the two coordinates in [-1, 1];
    "learnable" is a free vector per cell (`dosovitskiy2021image`); "sinusoidal" is fixed sines and cosines, half of
    the features for the row and half for the column (`vaswani2017attention`, in two dimensions as in
    `chen2021empirical`).
    """

    def __init__(self, kind: str, rows: int, columns: int, embed_dim: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "learnable":
            self.table = nn.Parameter(0.02 * torch.randn(1, rows * columns, embed_dim))
        elif kind == "sinusoidal":
            self.register_buffer("table", sinusoidal_grid(rows, columns, embed_dim)[None], persistent=False)
        elif kind == "linear":
            self.register_buffer("coordinates", grid_coordinates(rows, columns), persistent=False)
            self.project = nn.Linear(2, embed_dim, bias=False)

    def forward(self, patches: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Patches plus their position features."""
        if self.kind == "none":
            return patches
        table = self.project(self.coordinates)[None] if self.kind == "linear" else self.table
        return patches + table.to(patches.dtype)


def grid_positions(kind: str, rows: int, columns: int, embed_dim: int) -> GridPositions:
    """The positions called `kind`.

    Raises:
        ValueError: If the kind is unknown, or sinusoidal with an `embed_dim` that 4 does not divide.
    """
    if kind not in POSITIONS:
        raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, but got {kind!r}.")
    if kind == "sinusoidal" and embed_dim % 4:
        raise ValueError(f"sinusoidal positions need an embed_dim that 4 divides, but got {embed_dim=}.")
    return GridPositions(kind, rows, columns, embed_dim)


def grid_coordinates(rows: int, columns: int) -> Float[Tensor, "token 2"]:
    """Row and column of every cell, each scaled to [-1, 1] (0 where there is only one)."""
    vertical = torch.linspace(-1, 1, rows) if rows > 1 else torch.zeros(1)
    horizontal = torch.linspace(-1, 1, columns) if columns > 1 else torch.zeros(1)
    return torch.stack(torch.meshgrid(vertical, horizontal, indexing="ij"), dim=-1).reshape(-1, 2)


def sinusoidal_grid(rows: int, columns: int, embed_dim: int) -> Float[Tensor, "token embed"]:
    """Sines and cosines of row and column at `embed_dim / 4` wavelengths from 2 pi to 20,000 pi."""
    quarter = embed_dim // 4
    frequency = 10_000 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    waves = [axis.reshape(-1, 1) * frequency for axis in (row, column)]
    return torch.cat([function(wave) for wave in waves for function in (torch.sin, torch.cos)], dim=1).float()
