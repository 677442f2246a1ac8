"""Tokens of one bucket sit together: where each token goes, and which neighbours its chunk may look at.

In every round of hashing the tokens take their seats in a line of chunks; a chunk looks at itself and at the one before
(`kitaev2020reformer`, section 2). There are two ways to seat them:

- `side_by_side`, as the authors do: by bucket, then by position, without a gap. A chunk may hold parts of several
  buckets.
- `by_bucket`: likewise, but every bucket begins a chunk of its own. Then a token's seat is decided by the tokens before
  it alone. Side by side it is not: a later token that enters an earlier bucket moves everybody else by one seat, so
  that even under a causal mask the future decides whom the past may look at.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Buckets = Int[Tensor, "row round token"]  # a row is one head of an example


@dataclass(frozen=True)
class Seating:
    """Who sits where; seats and tokens of all rows are counted through.

    Attributes:
        size: Seats of a chunk.
        token: Who sits in each seat; on an empty one, any token of the row.
        seat: Where each token sits in each round.
        empty: The seats that nobody has.
        hidden: Which of the seats before each chunk, and of its own, it may not look at.
    """

    size: int
    token: Int[Tensor, " seat"]
    seat: Int[Tensor, "token round"]
    empty: Int[Tensor, " empty"]
    hidden: Bool[Tensor, "chunk seen"]


def side_by_side(buckets: Buckets, size: int, valid: Bool[Tensor, "row token"] | None = None) -> Seating:
    """Everybody in order of bucket and position.

    Args:
        buckets: The bucket of each token, 0 or more.
        size: Seats of a chunk.
        valid: Which tokens are real; the others take the last seats, and nobody looks at them.
    """
    order, _ = sorted_by_bucket(buckets, valid)
    rows, rounds, tokens = buckets.shape
    chunks = -(-tokens // size)
    place = torch.arange(tokens, device=buckets.device).expand(rows * rounds, tokens)
    starts = torch.zeros(rows * rounds, chunks, dtype=torch.bool, device=buckets.device)
    starts[:, 0] = True
    return seating(order, place, starts, size, buckets, valid)


def by_bucket(buckets: Buckets, size: int, valid: Bool[Tensor, "row token"] | None = None) -> Seating:
    """Everybody in order of bucket and position, every bucket from the first seat of a chunk; arguments likewise."""
    order, sorted_buckets = sorted_by_bucket(buckets, valid)
    rows, rounds, tokens = buckets.shape
    lines = torch.arange(rows * rounds, device=buckets.device)[:, None]
    num_buckets = int(sorted_buckets.max()) + 1
    counts = torch.bincount(
        (sorted_buckets + lines * num_buckets).flatten(), minlength=len(lines) * num_buckets
    )
    counts = counts.view(-1, num_buckets)
    chunks = (counts + size - 1) // size
    first_place, first_chunk = counts.cumsum(dim=1) - counts, chunks.cumsum(dim=1) - chunks
    rank = torch.arange(tokens, device=buckets.device) - first_place.gather(1, sorted_buckets)
    place = first_chunk.gather(1, sorted_buckets) * size + rank
    most = int(chunks.sum(dim=1).max())
    starts = torch.zeros(len(lines), most + 1, dtype=torch.bool, device=buckets.device)
    starts.scatter_(1, first_chunk, True)
    return seating(order, place, starts[:, :most], size, buckets, valid)


def sorted_by_bucket(
    buckets: Buckets, valid: Bool[Tensor, "row token"] | None
) -> tuple[Int[Tensor, "line token"], Int[Tensor, "line token"]]:
    """Tokens of each row and round in order of bucket and position, and their buckets; padding comes last.

    All rows are sorted as one long list: for that, PyTorch has a sort that counts instead of comparing.
    """
    rows, rounds, tokens = buckets.shape
    num_buckets = int(buckets.max()) + 2
    if valid is not None:
        buckets = buckets.masked_fill(~valid[:, None], num_buckets - 1)
    lines = torch.arange(rows * rounds, device=buckets.device)[:, None]
    ranked, order = torch.sort((buckets.flatten(0, 1) + lines * num_buckets).flatten(), stable=True)
    return order.view(-1, tokens) - lines * tokens, ranked.view(-1, tokens) - lines * num_buckets


def seating(
    order: Int[Tensor, "line token"],
    place: Int[Tensor, "line token"],
    starts: Bool[Tensor, "line chunk"],
    size: int,
    buckets: Buckets,
    valid: Bool[Tensor, "row token"] | None,
) -> Seating:
    """The seating in which token `order[i, j]` of line `i` has place `place[i, j]`.

    Args:
        order: Tokens of each row and round, in order.
        place: Their seats, counted from the first seat of the line.
        starts: Which chunks may not look at the one before.
        size: Seats of a chunk.
        buckets: Only its shape counts.
        valid: Which tokens are real.
    """
    rows, rounds, tokens = buckets.shape
    seats = starts.shape[1] * size
    lines = torch.arange(len(order), device=order.device)[:, None]
    seat_of_order = (place + lines * seats).flatten()
    token_of_order = (order + lines.div(rounds, rounding_mode="floor") * tokens).flatten()

    token = lines.div(rounds, rounding_mode="floor").mul(tokens).expand(-1, seats).flatten().clone()
    token[seat_of_order] = token_of_order
    is_empty = torch.ones_like(token, dtype=torch.bool)
    is_empty[seat_of_order] = False
    seat = torch.empty_like(seat_of_order)
    seat[(order + lines * tokens).flatten()] = seat_of_order

    hidden = is_empty if valid is None else is_empty | ~valid.flatten()[token]
    hidden = hidden.view(-1, size)
    before = hidden.roll(1, dims=0) | starts.flatten()[:, None]
    return Seating(
        size=size,
        token=token,
        seat=seat.view(rows, rounds, tokens).transpose(1, 2).reshape(-1, rounds),
        empty=is_empty.nonzero()[:, 0],
        hidden=torch.cat([before, hidden], dim=1),
    )
