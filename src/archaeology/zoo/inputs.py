"""Two kinds of made-up queries and keys: without any structure, and with the structure that cheap attention bets on.

`random`: every number is drawn alone, so nothing tells near from far and no two tokens are of a kind; whoever leaves
keys out loses what they held. `structured`: an image read row by row. A token matches tokens near by, on the grid, and
tokens of its kind, of which a few lie about in pieces; few dimensions of its features matter, as in trained networks.
On both the scores have the same standard deviation, which is stated with every error: at 0 attention is the mean of
the values, and the larger it is, the fewer keys count. Values are independent numbers, so the relative error of the
answer is, on average, that of the pattern.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.seeding import torch_generator

InputKind = Literal["random", "structured"]
KINDS: tuple[InputKind, ...] = ("structured", "random")
NUM_THINGS = 6  # kinds of things in an image
TOKENS_PER_PIECE = 40  # of one thing, on average
WAVES = 16  # over the grid, that tell where a token is
NEAR = 4.0  # tokens; the match of two places falls with their distance as a bell curve of this width
PLACE, KIND, NOISE = (
    2.0,
    1.0,
    0.3,
)  # how much each counts in a feature; noise differs between queries and keys

Heads = Float[Tensor, "batch head token dim"]


@dataclass(frozen=True)
class Sample:
    """Queries, keys and values of one example, and random numbers shaped as an answer's gradient."""

    query: Heads
    key: Heads
    value: Heads
    gradient: Heads


def sample(kind: InputKind, length: int, heads: int, head_dim: int, *, score_std: float, seed: int) -> Sample:
    """One example of this kind with `length` tokens, in float32.

    Args:
        kind: "random" or "structured".
        length: Tokens.
        heads: Heads; no two are alike.
        head_dim: Features of a head.
        score_std: Standard deviation of `query . key / sqrt(head_dim)` over all pairs.
        seed: Of everything drawn.
    """
    generator = torch_generator(seed, "zoo", kind, length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shape = (1, heads, length, head_dim)
    value, gradient = normal(*shape), normal(*shape)
    if kind == "random":
        query, key = normal(*shape), normal(*shape)
    else:
        query, key = _structured(length, heads, head_dim, generator)
    factor = (score_std / score_deviation(query, key)) ** 0.5
    return Sample(query * factor, key * factor, value, gradient)


def score_deviation(query: Heads, key: Heads) -> float:
    """Standard deviation of the scores over all pairs, without writing them down."""
    query, key = query.double(), key.double()
    pairs = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    total = (query.sum(dim=2) * key.sum(dim=2)).sum()
    squares = (
        (query.mT @ query) * (key.mT @ key)
    ).sum()  # the trace of Q^T Q K^T K is the sum of squared scores
    variance = squares / pairs - (total / pairs) ** 2
    return float((variance / query.shape[3]).sqrt())


def _structured(length: int, heads: int, head_dim: int, generator: torch.Generator) -> tuple[Heads, Heads]:
    rows, columns = grid_for(length)
    row, column = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij")
    place = torch.stack((row.flatten(), column.flatten()), dim=-1)
    things = torch.randn(heads, NUM_THINGS, head_dim, generator=generator)[:, _things_at(place, generator)]
    features = KIND * things + PLACE * _waves_at(place, heads, head_dim, generator)
    noise = NOISE * torch.randn(2, heads, length, head_dim, generator=generator)
    return (features + noise[0])[None], (features + noise[1])[None]


def _things_at(place: Float[Tensor, "token axis"], generator: torch.Generator) -> Tensor:
    """The kind of thing at each place: that of the nearest of some centres strewn over the grid."""
    centres = max(1, len(place) // TOKENS_PER_PIECE)
    size = place.amax(dim=0) + 1
    strewn = torch.rand(centres, 2, generator=generator) * size
    kinds = torch.randint(NUM_THINGS, (centres,), generator=generator)
    return kinds[torch.cdist(place, strewn).argmin(dim=-1)]


def _waves_at(
    place: Float[Tensor, "token axis"], heads: int, head_dim: int, generator: torch.Generator
) -> Float[Tensor, "head token dim"]:
    """Random Fourier features (`rahimi2007random`) of the place: their product is a bell curve of the distance."""
    frequency = torch.randn(heads, WAVES, 2, generator=generator) / NEAR
    phase = place @ frequency.mT
    waves = torch.cat((phase.cos(), phase.sin()), dim=-1) * WAVES**-0.5
    return waves @ torch.randn(heads, 2 * WAVES, head_dim, generator=generator)


def grid_for(length: int) -> tuple[int, int]:
    """Rows and columns of `length` tokens, as near to a square as whole numbers allow."""
    rows = next(rows for rows in range(int(length**0.5), 0, -1) if length % rows == 0)
    return rows, length // rows
