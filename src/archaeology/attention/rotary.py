"""Turn queries and keys by angles that grow with their position: their product then depends on the distance alone.

`su2024roformer`: features go in pairs, each pair is a complex number, and position p multiplies pair i by
`exp(i p base^(-i / pairs))`. In two dimensions half of the pairs turn with the row and half with the column
(`heo2024rotary`), never with their sum, which would make (1, 3) and (3, 1) the same place. Angles are computed in
float32 at least: in bfloat16 position 4,095 would be off by up to 8.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Heads = Float[Tensor, "batch head token dim"]


@runtime_checkable
class Rotation(Protocol):
    """Positions that turn queries and keys, such as `Rotary`."""

    def rotate(self, heads: Heads, positions: Int[Tensor, " token"]) -> Heads:
        """Queries or keys, turned by the angles of their positions."""
        ...


@dataclass(frozen=True)
class Rotary:
    """Rotation by the position in a sequence.

    Attributes:
        head_dim: Features of a head; even.
        base: The longest wavelength is about 2 pi times this, in tokens.
        interleaved: Whether neighbouring features are a pair, as in the paper and GPT-J; otherwise feature i goes
            with feature i + head_dim / 2, as in Llama. Checkpoints of one kind are wrong in the other.
    """

    head_dim: int
    base: float = 10_000.0
    interleaved: bool = False

    def __post_init__(self) -> None:
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(
                f"rotary positions turn pairs of features: head_dim must be even, but got {self.head_dim}."
            )

    def rotate(self, heads: Heads, positions: Int[Tensor, "*batch token"]) -> Heads:
        """Queries or keys, turned by the angles of their positions, which examples share or have each their own."""
        angles = phases(positions, self.head_dim // 2, self.base, heads.dtype)
        return turned(heads, angles, interleaved=self.interleaved)


@dataclass(frozen=True)
class AxialRotary:
    """Rotation by row and column of a grid; what stands before the grid is not turned.

    Attributes:
        head_dim: Features of a head; 4 divides it. The first half of the pairs turns with the row.
        grid: Rows and columns.
        num_prefix: Tokens before the grid: class token, registers.
        base: The longest wavelength is about 2 pi times this, in cells.
        interleaved: As for `Rotary`; True is what timm does, False how DINOv3 pairs.
        trained_grid: The grid whose coordinates this one is stretched over, after `resized`.
    """

    head_dim: int
    grid: tuple[int, int]
    num_prefix: int = 0
    base: float = 10_000.0
    interleaved: bool = False
    trained_grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.head_dim < 4 or self.head_dim % 4:
            raise ValueError(
                "rotary positions on a grid turn pairs by row and pairs by column: 4 must divide head_dim, but got "
                f"{self.head_dim}."
            )

    def resized(self, grid: tuple[int, int]) -> "AxialRotary":
        """For another grid, whose corners get the angles that the corners of the trained one had, nearly.

        As for interpolated tables, a cell keeps its size as a share of the image: coordinate = index * trained / now.
        """
        return replace(self, grid=grid, trained_grid=self.trained_grid or self.grid)

    def rotate(self, heads: Heads, positions: Int[Tensor, "*batch token"]) -> Heads:
        """Queries or keys, turned by the angles of their cells.

        Raises:
            ValueError: If there are more tokens than prefix and grid have.
        """
        rows, columns = self.grid
        if positions.shape[-1] > self.num_prefix + rows * columns:
            raise ValueError(
                f"a grid of {rows} x {columns} after {self.num_prefix} prefix tokens has "
                f"{self.num_prefix + rows * columns} tokens, but got {positions.shape[-1]}; use resized(grid)."
            )
        cell = (positions - self.num_prefix).clamp(min=0)  # a prefix token takes the angles of cell 0: none
        trained = self.trained_grid or self.grid
        angles = [
            phases(place * (was / now), self.head_dim // 4, self.base, heads.dtype)
            for place, was, now in zip((cell // columns, cell % columns), trained, self.grid, strict=True)
        ]
        return turned(heads, torch.cat(angles, dim=-1), interleaved=self.interleaved)


def phases(
    places: Int[Tensor, "*batch token"] | Float[Tensor, "*batch token"],
    pairs: int,
    base: float,
    dtype: torch.dtype,
) -> Float[Tensor, "*batch token pair"]:
    """The angle of every pair at every place, in radians; float64 for float64 features, else float32."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    frequencies = base ** (-torch.arange(pairs, device=places.device, dtype=exact) / pairs)
    return places.to(exact)[..., None] * frequencies


def turned(heads: Heads, angles: Float[Tensor, "*batch token pair"], *, interleaved: bool) -> Heads:
    """Every pair of features, turned by its angle."""
    angles = angles[:, None] if angles.ndim == 3 else angles  # one axis for the heads
    exact = heads.to(angles.dtype)
    cosine, sine = angles.cos(), angles.sin()
    first, second = exact.unflatten(-1, (-1, 2)).unbind(-1) if interleaved else exact.chunk(2, dim=-1)
    both = first * cosine - second * sine, second * cosine + first * sine
    together = torch.stack(both, dim=-1).flatten(-2) if interleaved else torch.cat(both, dim=-1)
    return together.to(heads.dtype)
