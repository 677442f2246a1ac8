"""Who looks at whom in each mechanism, on one and the same input: the matrix it implies, made small enough to see."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.attention import mechanisms
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.inputs import grid_for, sample
from archaeology.zoo.subject import built

LENGTH = 1024  # tokens, so that every mechanism shows its structure with its default options
HEADS, HEAD_DIM, SCORE_STD = 2, 64, 1.0
CELLS = 128  # rows and columns of a map
ROW_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class PatternMap:
    """The pattern of the first head.

    Attributes:
        name: Of the mechanism.
        cells: Mean weight of each block of pairs, times the number of tokens: 1 is an even share.
        lowest_row_sum: Over all rows of the whole pattern.
        highest_row_sum: Likewise.
        negative_share: Share of weights below zero.
    """

    name: str
    cells: Float[np.ndarray, "query key"]
    lowest_row_sum: float
    highest_row_sum: float
    negative_share: float

    @property
    def rows_sum_to_one(self) -> bool:
        """Whether all rows do, about."""
        return max(abs(self.lowest_row_sum - 1), abs(self.highest_row_sum - 1)) < ROW_SUM_TOLERANCE


def patterns(names: Sequence[str], *, length: int = LENGTH, seed: int = 0) -> list[PatternMap]:
    """The map of every mechanism on the same structured input.

    Args:
        names: Registered mechanisms.
        length: Tokens of the input.
        seed: Of the input, and of what mechanisms draw.

    Raises:
        UnknownNameError: If a mechanism is unknown.
        ValueError: If one cannot be built for that length.
    """
    for name in names:
        mechanisms.get(name)
    config = ZooConfig(heads=HEADS, head_dim=HEAD_DIM, lengths=(length,), seed=seed)
    given = sample("structured", length, HEADS, HEAD_DIM, score_std=SCORE_STD, seed=seed)
    maps = []
    for name in names:
        mechanism = built(name, length, config).eval()
        key = given.query if mechanism.shares_query_and_key else given.key
        with torch.no_grad():
            pattern = mechanism.pattern(given.query, key, heads=torch.tensor([0]))[0, 0]
        maps.append(_map_of(name, pattern))
    return maps


def _map_of(name: str, pattern: Float[Tensor, "query key"]) -> PatternMap:
    sums = pattern.sum(dim=-1)
    width = -(-len(pattern) // CELLS)
    cells = torch.nn.functional.avg_pool2d(pattern[None, None], width, ceil_mode=True)
    return PatternMap(
        name=name,
        cells=(cells[0, 0] * len(pattern)).numpy(),
        lowest_row_sum=float(sums.min()),
        highest_row_sum=float(sums.max()),
        negative_share=float((pattern < 0).float().mean()),
    )


def described_input(length: int) -> str:
    """The input in words."""
    rows, columns = grid_for(length)
    return f"{length:,} tokens of a made-up image, {rows} rows of {columns}, read row by row"
