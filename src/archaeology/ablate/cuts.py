"""What is taken out of a model: any set of heads, MLPs and tokens of any layers, one such set after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.core.names import first_few


@dataclass(frozen=True, eq=False)
class Cuts:
    """Several interventions, each a set of parts that are replaced together; layers are attention layers.

    Attributes:
        heads: Which heads of which layers.
        mlps: The MLPs of which layers' blocks.
        tokens: Which tokens of the stream that which layers' blocks hand on; of no tokens where none is ever meant.
    """

    heads: Bool[Tensor, "cut layer head"]
    mlps: Bool[Tensor, "cut layer"]
    tokens: Bool[Tensor, "cut layer token"]

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, rows: slice | Tensor) -> "Cuts":
        return Cuts(self.heads[rows], self.mlps[rows], self.tokens[rows])

    def with_all(self, other: "Cuts") -> "Cuts":
        """Each of these, and what the one cut `other` takes out as well."""
        return Cuts(self.heads | other.heads, self.mlps | other.mlps, self.tokens | other.tokens)

    @property
    def layers(self) -> Bool[Tensor, "cut layer"]:
        """Which layers each cut changes."""
        return self.heads.any(-1) | self.mlps | self.tokens.any(-1)

    def starts(self, base: "Cuts") -> Int[Tensor, " cut"]:
        """The first layer in which each differs from the one cut `base`; the number of layers where none does."""
        differs = (
            (self.heads ^ base.heads).any(-1) | (self.mlps ^ base.mlps) | (self.tokens ^ base.tokens).any(-1)
        )
        layers = torch.arange(differs.shape[1])
        return torch.where(differs, layers, differs.shape[1]).amin(-1)

    def named(self, row: int) -> str:
        """One cut in words."""
        words = [f"head {head} of layer {layer}" for layer, head in self.heads[row].nonzero().tolist()]
        words += [f"the MLP of layer {layer}" for (layer,) in self.mlps[row].nonzero().tolist()]
        words += [
            f"token {token} after layer {layer}" for layer, token in self.tokens[row].nonzero().tolist()
        ]
        return first_few(words, 3) or "nothing"


def no_cuts(count: int, heads: Sequence[int], tokens: int = 0) -> Cuts:
    """Interventions that take nothing out yet, for layers of so many heads.

    Args:
        count: How many.
        heads: How many heads each layer has.
        tokens: How many tokens blocks hand on, where tokens are meant.
    """
    return Cuts(
        torch.zeros(count, len(heads), max(heads), dtype=torch.bool),
        torch.zeros(count, len(heads), dtype=torch.bool),
        torch.zeros(count, len(heads), tokens, dtype=torch.bool),
    )


def places_of(heads: Sequence[int]) -> list[tuple[int, int]]:
    """Layer and head of every head, layer by layer."""
    return [(layer, head) for layer, number in enumerate(heads) for head in range(number)]


def of_heads(places: Sequence[Sequence[tuple[int, int]]], heads: Sequence[int]) -> Cuts:
    """One cut for each set of heads, given as (layer, head)."""
    cuts = no_cuts(len(places), heads)
    for row, members in enumerate(places):
        for layer, head in members:
            cuts.heads[row, layer, head] = True
    return cuts


def of_each_head(heads: Sequence[int]) -> Cuts:
    """One cut for each head, layer by layer."""
    return of_heads([[place] for place in places_of(heads)], heads)


def of_each_layer(heads: Sequence[int]) -> Cuts:
    """One cut for each attention layer: all its heads."""
    return of_heads([[(layer, head) for head in range(number)] for layer, number in enumerate(heads)], heads)


def of_each_mlp(heads: Sequence[int]) -> Cuts:
    """One cut for each MLP."""
    cuts = no_cuts(len(heads), heads)
    cuts.mlps[:] = torch.eye(len(heads), dtype=torch.bool)
    return cuts


def of_each_token(heads: Sequence[int], tokens: int) -> Cuts:
    """One cut for each token of the stream after each block, layer by layer."""
    cuts = no_cuts(len(heads) * tokens, heads, tokens)
    for layer in range(len(heads)):
        rows = torch.arange(tokens) + layer * tokens
        cuts.tokens[rows, layer, torch.arange(tokens)] = True
    return cuts
