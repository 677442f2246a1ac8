"""Two matrix products and a softmax between them: the definition at the speed of the hardware's matrix units.

In bfloat16 training on a CPU this is about twice as fast as PyTorch's fused kernel, whose backward pass is slow
there; it needs memory for the whole pattern, so it is for sequences of a few thousand tokens at most.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.kernels.fused import joined
from archaeology.attention.kernels.problem import Problem
from archaeology.attention.kernels.registry import kernels


@kernels.register("matmul")
def matmul(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """Scores, softmax and product in the dtype of the values."""
    problem = problem.with_repeated_keys()
    scores = (problem.query * problem.scale) @ problem.key.transpose(-2, -1)
    addend = joined(problem)
    if addend is None:
        weights = scores.softmax(dim=-1)
    elif addend.dtype == torch.bool:
        lowest = torch.finfo(scores.dtype).min  # finite, so that a row without keys is no NaN before it is zeroed
        weights = scores.masked_fill(~addend, lowest).softmax(dim=-1).masked_fill(~addend, 0)
    else:
        scores = scores + addend
        forbidden = scores == float("-inf")
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(forbidden, lowest).softmax(dim=-1).masked_fill(forbidden, 0)
    return F.dropout(weights.to(problem.value.dtype), problem.dropout) @ problem.value
