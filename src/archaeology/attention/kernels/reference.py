"""The definition itself: every score, the mask, the softmax, the product. Slow, plain, and what all else is held to.

`vaswani2017attention`, equation 1. Differs: a query that may look nowhere gets a row of zeros instead of NaN.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.kernels.problem import Problem
from archaeology.attention.kernels.registry import kernels


@kernels.register("reference")
def reference(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """Pattern times values."""
    problem = problem.with_repeated_keys()
    weights = F.dropout(pattern(problem), problem.dropout)
    return weights.to(problem.value.dtype) @ problem.value


def pattern(problem: Problem) -> Float[Tensor, "batch head query key"]:
    """Softmax of the scores over the keys that are allowed; at least float32."""
    scores = masked_scores(problem.with_repeated_keys())
    empty = (scores == float("-inf")).all(dim=-1, keepdim=True)
    return scores.masked_fill(empty, 0).softmax(dim=-1).masked_fill(empty, 0)


def masked_scores(problem: Problem) -> Float[Tensor, "batch head query key"]:
    """Scaled products plus bias, minus infinity where attention is not allowed; at least float32."""
    query, key = (exact(tensor) for tensor in (problem.query, problem.key))
    scores = problem.scale * query @ key.transpose(-2, -1)
    if problem.dense_bias is not None:
        scores = scores + problem.dense_bias
    return scores if problem.dense_mask is None else scores.masked_fill(~problem.dense_mask, float("-inf"))


def exact(tensor: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is."""
    return tensor.float() if tensor.element_size() < 4 else tensor
