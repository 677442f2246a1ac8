"""Where the tokens of each window lie on the map of their stage, and what follows from it.

A layer on windows hands out one small pattern per window. With its `Places` the small patterns become one pattern of
the whole map (`global_pattern`), and a row of shares of all places is pushed through the layer without ever forming
that (`Places.by_window`, `Places.on_map`).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Places:
    """Which place of the map each token of each window is.

    Attributes:
        rows: Of the map that the layer works on, top to bottom.
        columns: Left to right.
        index: Place (row * columns + column) of each token; -1 where it is none of the map: padding, a class token.
    """

    rows: int
    columns: int
    index: Int[Tensor, "window token"]

    @property
    def num_places(self) -> int:
        """Places of the map."""
        return self.rows * self.columns

    def by_window(self, shares: Float[Tensor, "batch place"]) -> Float[Tensor, "window_of_image token"]:
        """What lies on the map, window after window, image after image; nothing lies on padding.

        A place that several windows hold (none of the usual layers has such) counts in each of them.
        """
        index = self.index.to(shares.device)
        held = shares[:, index.clamp(min=0)].masked_fill(index < 0, 0)
        return held.flatten(0, 1)

    def on_map(self, tokens: Float[Tensor, "window_of_image token"]) -> Float[Tensor, "batch place"]:
        """What lies on tokens, summed up on the map; what lies on padding is dropped."""
        index = self.index.to(tokens.device).flatten()
        tokens = tokens.reshape(-1, index.numel())
        found = tokens.new_zeros(len(tokens), self.num_places)
        return found.index_add(1, index[index >= 0], tokens[:, index >= 0])

    def without_padding(
        self, pattern: Float[Tensor, "window_of_image *head query key"]
    ) -> Float[Tensor, "window_of_image *head query key"]:
        """The pattern with no weight on tokens that are no place of the map."""
        is_padding = (self.index < 0).to(pattern.device)
        if not bool(is_padding.any()):
            return pattern
        parts = pattern.unflatten(0, (-1, len(is_padding)))
        ones = [1] * (parts.ndim - 3)
        return parts.masked_fill(is_padding.view(len(is_padding), *ones, -1), 0).flatten(0, 1)


def global_pattern(
    pattern: Float[Tensor, "window_of_image head query key"], places: Places
) -> Float[Tensor, "batch head place place"]:
    """One pattern of the whole map from those of its windows; every row sums to one.

    Weight on padding, which holds nothing of the image, is dropped and the rest of its row scaled up.

    Args:
        pattern: Of all windows of the first image, then of the next.
        places: Of that layer.

    Raises:
        ValueError: If the pattern has other windows or tokens than the places.
    """
    check_fits(pattern, places)
    num_windows, num_places = len(places.index), places.num_places
    kept = places.without_padding(pattern)
    kept = kept / kept.sum(-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)
    index = places.index.to(pattern.device)
    pairs = index[:, :, None] * num_places + index[:, None]  # window x query x key
    real = (index[:, :, None] >= 0) & (index[:, None] >= 0)
    by_image = kept.unflatten(0, (-1, num_windows)).transpose(1, 2)  # batch x head x window x query x key
    whole = pattern.new_zeros(*by_image.shape[:2], num_places**2)
    whole = whole.index_add(2, pairs[real], by_image[:, :, real])
    return whole.unflatten(2, (num_places, num_places))


def place_distance(
    places: Places, patch_size: tuple[float, float] = (1.0, 1.0)
) -> Float[Tensor, "window token token"]:
    """Distance of each pair of tokens of a window on the map; NaN where one of them is padding.

    Args:
        places: Of a layer.
        patch_size: Height and width of a place, in the unit wanted.
    """
    row, column = places.index // places.columns, places.index % places.columns
    down = (row[:, :, None] - row[:, None]) * patch_size[0]
    right = (column[:, :, None] - column[:, None]) * patch_size[1]
    padding = places.index < 0
    return torch.hypot(down.double(), right.double()).masked_fill(
        padding[:, :, None] | padding[:, None], torch.nan
    )


def check_fits(pattern: Float[Tensor, "window_of_image head query key"], places: Places) -> None:
    """Raise if a pattern is not of the layer that the places are of.

    Raises:
        ValueError: If the number of windows or tokens differs.
    """
    windows, tokens = places.index.shape
    if len(pattern) % windows or tuple(pattern.shape[2:]) != (tokens, tokens):
        raise ValueError(
            f"a pattern must have the {windows} windows of {tokens} tokens that its places have, but got shape "
            f"{tuple(pattern.shape)} (windows of all images, head, query, key); give the places of that layer."
        )
