"""The smallest level at which each of many things gives way, found by trying few levels: all at once, each its own.

What gives way at a level gives way at every higher one. So the middle of what is open halves it, and what a trial
shows beyond its own level (that less would have done) is taken as well.
"""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

Attempt = Callable[[Tensor, Tensor], Tensor]


def smallest_level(total: int, levels: int, attempt: Attempt) -> Int[Tensor, " total"]:
    """Where each of `total` things first gives way, as far as `attempt` can tell.

    Args:
        total: How many things there are.
        levels: How many levels, from 0, the weakest.
        attempt: Given numbers of things, and a level for each, says at which level each was seen to give way: the one
            tried, a lower one if that much was seen, or `levels` where it held.

    Returns:
        A level for each, or `levels` for what never gave way. An attempt that fails by bad luck can hide lower
        levels, never make one up.
    """
    held = torch.full((total,), -1, dtype=torch.long)
    gave = torch.full((total,), levels, dtype=torch.long)
    while len(rows := (gave - held > 1).nonzero()[:, 0]):
        tried = (held[rows] + gave[rows]) // 2
        seen = attempt(rows, tried)
        broke = seen <= tried
        gave[rows[broke]] = seen[broke]
        held[rows[~broke]] = tried[~broke]
    return gave


def lowered(found: Int[Tensor, " total"], attempt: Attempt) -> Int[Tensor, " total"]:
    """Levels found, made lower where another kind of attempt sees things give way just below, and below that.

    Args:
        found: A level for each thing, as from `smallest_level`.
        attempt: As there; each thing is tried a level lower, until it holds.
    """
    gave = found.clone()
    rows = (gave > 0).nonzero()[:, 0]
    while len(rows):
        tried = gave[rows] - 1
        seen = attempt(rows, tried)
        broke = seen <= tried
        gave[rows[broke]] = seen[broke]
        rows = rows[broke & (seen > 0)]
    return gave
