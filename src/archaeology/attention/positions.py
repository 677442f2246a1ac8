"""Attention sees a set, not an order: position features, added to the tokens, tell it where each of them lies.

Four kinds, on grids and in sequences. "none" adds nothing; "linear" is a learned linear map of the coordinates, scaled
to [-1, 1]; "learnable" is a free vector per place (`dosovitskiy2021image`); "sinusoidal" is fixed sines and cosines
(`vaswani2017attention`; on a grid half of the features for the row and half for the column, as in
`chen2021empirical`). Differs: all sines come first and then all cosines, instead of in turn. Tokens that have no place,
such as a class token, do not come here: they are put in front afterwards.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

POSITIONS = ("none", "linear", "learnable", "sinusoidal")


class AddedPositions(nn.Module):
    """Features for every place, added to the tokens there."""

    def __init__(self, kind: str, sizes: tuple[int, ...], embed_dim: int) -> None:
        """`sizes` are rows and columns, or the length of a sequence.

        Raises:
            ValueError: If the kind is unknown, a size is not positive, or `embed_dim` does not suit the waves.
        """
        super().__init__()
        if kind not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, but got {kind!r}.")
        if min(sizes) < 1:
            raise ValueError(f"positions need at least one place along every axis, but got {sizes}.")
        if kind == "sinusoidal" and embed_dim % (2 * len(sizes)):
            raise ValueError(
                f"sinusoidal positions need an embed_dim that {2 * len(sizes)} divides, but got {embed_dim=}."
            )
        self.kind, self.sizes, self.embed_dim = kind, sizes, embed_dim
        if kind == "learnable":
            self.table = nn.Parameter(0.02 * torch.randn(1, torch.Size(sizes).numel(), embed_dim))
        elif kind == "sinusoidal":
            self.register_buffer("table", sinusoidal(places(sizes), embed_dim)[None], persistent=False)
        elif kind == "linear":
            self.register_buffer("coordinates", coordinates(sizes), persistent=False)
            self.project = nn.Linear(len(sizes), embed_dim, bias=False)

    def features(self) -> Float[Tensor, "1 token embed"]:
        """What is added at each place."""
        return self.project(self.coordinates)[None] if self.kind == "linear" else self.table

    def take_map(self, trained: "AddedPositions") -> None:
        """Use the linear map of `trained`, if there is one, and its device and dtype."""
        if self.kind == "linear":
            self.project.load_state_dict(trained.project.state_dict())
        known = next(iter([*trained.parameters(), *trained.buffers()]), None)
        if known is not None:
            self.to(known)


class GridPositions(AddedPositions):
    """Features for every cell of a `rows` x `columns` grid, added to the patch tokens."""

    def __init__(self, kind: str, rows: int, columns: int, embed_dim: int) -> None:
        """Build positions of this kind; raises as `AddedPositions`."""
        super().__init__(kind, (rows, columns), embed_dim)

    def forward(self, patches: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch token embed"]:
        """Patches plus their position features.

        Raises:
            ValueError: If there are more or fewer patches than cells.
        """
        rows, columns = self.sizes
        if patches.shape[1] != rows * columns:
            raise ValueError(
                f"positions of a {rows} x {columns} grid are for {rows * columns} patches, but got "
                f"{patches.shape[1]}; use resized(rows, columns), and put prefix tokens in front afterwards."
            )
        return patches if self.kind == "none" else patches + self.features().to(patches.dtype)

    def resized(self, rows: int, columns: int) -> "GridPositions":
        """For another grid: learned vectors are interpolated, coordinates stretched, waves go on as they are."""
        other, old = GridPositions(self.kind, rows, columns, self.embed_dim), (self.sizes[0], self.sizes[1])
        with torch.no_grad():
            if self.kind == "learnable":
                other.table.copy_(resized_grid_features(self.table, old, (rows, columns)))
        other.take_map(self)
        return other


class SequencePositions(AddedPositions):
    """Features for every position of a sequence of at most `num_tokens`, added to the tokens."""

    def __init__(self, kind: str, num_tokens: int, embed_dim: int) -> None:
        """Build positions of this kind; raises as `AddedPositions`."""
        super().__init__(kind, (num_tokens,), embed_dim)

    def forward(
        self, tokens: Float[Tensor, "batch token embed"], *, offset: int = 0
    ) -> Float[Tensor, "batch token embed"]:
        """Tokens plus the features of positions `offset` and following.

        Raises:
            ValueError: If they go beyond the last position.
        """
        end, (num_tokens,) = offset + tokens.shape[1], self.sizes
        if offset < 0 or (end > num_tokens and self.kind != "none"):
            raise ValueError(
                f"there are {num_tokens} positions, but got tokens at {offset} to {end - 1}; use resized(num_tokens)."
            )
        return tokens if self.kind == "none" else tokens + self.features()[:, offset:end].to(tokens.dtype)

    def resized(self, num_tokens: int) -> "SequencePositions":
        """For another length: learned vectors are interpolated, coordinates stretched, waves go on as they are."""
        other = SequencePositions(self.kind, num_tokens, self.embed_dim)
        with torch.no_grad():
            if self.kind == "learnable":
                other.table.copy_(resized_sequence_features(self.table, num_tokens))
        other.take_map(self)
        return other


def places(sizes: tuple[int, ...]) -> Float[Tensor, "token axis"]:
    """Row and column of every cell, row by row, or the position of every token."""
    axes = [torch.arange(size, dtype=torch.float64) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def coordinates(sizes: tuple[int, ...]) -> Float[Tensor, "token axis"]:
    """Places with each axis scaled to [-1, 1] (0 where there is only one)."""
    axes = [torch.linspace(-1, 1, size) if size > 1 else torch.zeros(1) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def sinusoidal(place: Float[Tensor, "token axis"], embed_dim: int) -> Float[Tensor, "token embed"]:
    """Sines, then cosines of each axis, at wavelengths from 2 pi to nearly 20,000 pi."""
    count = embed_dim // (2 * place.shape[1])
    frequency = 10_000 ** (-torch.arange(count, dtype=torch.float64) / count)
    waves = [axis[:, None] * frequency for axis in place.unbind(dim=1)]
    return torch.cat([function(wave) for wave in waves for function in (torch.sin, torch.cos)], dim=1).float()


def resized_grid_features(
    features: Float[Tensor, "1 token embed"],
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    num_prefix: int = 0,
) -> Float[Tensor, "1 new_token embed"]:
    """Features of a grid as those of another one, bicubically and without aliasing; prefix tokens are left alone."""
    if old == new:
        return features
    prefix, cells = features[:, :num_prefix], features[:, num_prefix:]
    surface = cells.float().unflatten(1, old).movedim(3, 1)
    stretched = F.interpolate(surface, size=new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([prefix, stretched.flatten(2).transpose(1, 2).to(features.dtype)], dim=1)


def resized_sequence_features(
    features: Float[Tensor, "1 token embed"], num_tokens: int, *, num_prefix: int = 0
) -> Float[Tensor, "1 new_token embed"]:
    """Features of a sequence as those of a longer or shorter one, linearly, ends kept; prefix tokens are left alone."""
    prefix, line = features[:, :num_prefix], features[:, num_prefix:].float().transpose(1, 2)
    stretched = F.interpolate(line, size=num_tokens, mode="linear", align_corners=True)
    return torch.cat([prefix, stretched.transpose(1, 2).to(features.dtype)], dim=1)
