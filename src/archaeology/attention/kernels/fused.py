"""PyTorch's own fused attention, which never writes the pattern down.

`dao2022flashattention` is what it does where it can. What it cannot be told as "causal from the first position" it is
given as a matrix.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.kernels.problem import Problem, grouped, ungrouped
from archaeology.attention.kernels.registry import kernels
from archaeology.attention.masks import Band


@kernels.register("fused")
def fused(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """One call of `F.scaled_dot_product_attention`."""
    if is_plainly_causal(problem):
        return F.scaled_dot_product_attention(
            problem.query,
            problem.key,
            problem.value,
            is_causal=True,
            dropout_p=problem.dropout,
            scale=problem.scale,
            enable_gqa=problem.group > 1,
        )
    mask, group = joined(problem), problem.group
    if group > 1:  # neighbouring query heads side by side: the keys are read once and never repeated
        mask = mask if mask is None or mask.shape[1:3] == (1, 1) else _grouped_mask(mask, problem)
    result = F.scaled_dot_product_attention(
        grouped(problem.query, group) if group > 1 else problem.query,
        problem.key,
        problem.value,
        attn_mask=mask,
        dropout_p=problem.dropout,
        scale=problem.scale,
    )
    return ungrouped(result, group) if group > 1 else result


def is_plainly_causal(problem: Problem) -> bool:
    """Whether "nobody sees the future" from the first position on is all there is to it."""
    mask = problem.mask
    is_causal = isinstance(mask, Band) and mask.back >= problem.key.shape[2] and mask.ahead == 0
    return is_causal and problem.query_offset == 0 and problem.bias is None


def joined(problem: Problem) -> Tensor | None:
    """Mask and bias as the one matrix that PyTorch takes."""
    mask = None if problem.allows_all() else problem.dense_mask
    # Asked only where there is one: before Python 3.12, cached properties lock, which breaks compiled graphs apart.
    bias = None if problem.bias is None else problem.dense_bias
    if bias is None:
        return mask
    return bias if mask is None else torch.where(mask, bias, float("-inf"))


def _grouped_mask(mask: Tensor, problem: Problem) -> Tensor:
    batch, _, queries, keys = mask.shape
    return grouped(mask.expand(batch, problem.query.shape[1], queries, keys), problem.group)
