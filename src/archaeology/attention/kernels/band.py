"""Sliding windows in linear time: a block of neighbouring queries looks at one window of keys, which slides along.

`beltagy2020longformer` names the chunks; the windows here are one overlapping view of the keys (`kernels.layout`).
For any mask that bounds how far anyone may look, alone or together with others.
"""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.kernels.by_head import attend_by_head
from archaeology.attention.kernels.layout import Sliding
from archaeology.attention.kernels.problem import Problem
from archaeology.attention.kernels.registry import kernels
from archaeology.attention.kernels.visible import Sight, bias_of
from archaeology.attention.masks import Reach

ALIGNMENT = 16  # windows are a multiple of this many keys: rows of scores then start on whole cache lines


@kernels.register("band")
def band(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """Blocks of queries, each with the window that they can reach.

    Raises:
        ValueError: If nothing bounds how far a query may look, to both sides.
    """
    layout = sliding(problem, block_size(problem))
    return through(problem, layout)


def through(problem: Problem, layout: Sliding) -> Float[Tensor, "batch head query value_dim"]:
    """The answer by way of a layout of all queries."""
    length = problem.query.shape[2]
    missing = layout.block * layout.num_blocks - length
    query = F.pad(problem.query, (0, 0, 0, missing)) if missing else problem.query
    result = attend_by_head(
        query.unflatten(2, (layout.num_blocks, layout.block)),
        problem.key,
        problem.value,
        layouts=[layout],
        visible=Sight(problem, [layout]),
        bias=bias_of(problem, layout),
        scale=problem.scale,
        dropout=problem.dropout,
    )
    return result.flatten(2, 3)[:, :, :length]


def sliding(problem: Problem, block: int) -> Sliding:
    """Windows that hold everything within reach of `block` neighbouring queries."""
    back, ahead = bounds(problem)
    length = problem.query.shape[2]
    block = min(block, length)
    seen = back + block + ahead
    seen += -seen % ALIGNMENT
    return Sliding(
        block,
        -(-length // block),
        problem.query_offset,
        problem.query_offset - back,
        seen,
        problem.query.device,
    )


def bounds(problem: Problem) -> tuple[int, int]:
    """How far any query may look back and ahead, and no farther than there is something to see."""
    reach = Reach() if problem.mask is None else problem.mask.reach()
    if math.isinf(reach.back) or math.isinf(reach.ahead):
        raise ValueError(
            f"The band kernel cannot take a mask that does not bound how far to look back and ahead, but got {reach}; "
            "use band(radius), or kernel='auto'."
        )
    last_query = problem.query_offset + problem.query.shape[2] - 1
    return int(min(reach.back, last_query)), int(min(reach.ahead, problem.key.shape[2]))


def block_size(problem: Problem) -> int:
    """Queries in a block: more make better products, fewer look at less that is masked again."""
    back, ahead = bounds(problem)
    is_half = problem.query.element_size() == 2
    narrow, wide = (64, 256) if is_half else (128, math.inf)
    return 32 if back + ahead <= narrow else 64 if back + ahead <= wide else 128
