"""Two matrix products and a softmax between them: the definition at the speed of the hardware's matrix units.

In bfloat16 training on a CPU this is about twice as fast as PyTorch's fused kernel, whose backward pass is slow
there; it needs memory for the whole pattern, so it is for sequences of a few thousand tokens at most.
In decoding, where a few queries meet many keys, bfloat16 would be several times as fast as in the fused kernel, had
oneDNN not to prepare itself anew, for more than ten milliseconds, for every number of keys that it has not yet seen.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.kernels.fused import joined
from archaeology.attention.kernels.problem import Problem, grouped, ungrouped
from archaeology.attention.kernels.registry import kernels


@kernels.register("matmul")
def matmul(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """Scores, softmax and product in the dtype of the values."""
    group = problem.group  # neighbouring query heads side by side: the keys are read once and never repeated
    scores = ungrouped(grouped(problem.query * problem.scale, group) @ problem.key.mT, group)
    addend = joined(problem)
    if addend is not None:
        is_mask = addend.dtype == torch.bool
        scores = scores if is_mask else scores + addend
        forbidden = ~addend if is_mask else scores == float("-inf")
        # Finite, so that a row without keys is even, and not NaN, before it is wiped out below.
        scores = scores.masked_fill(forbidden, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1)
        if bool(forbidden.all(dim=-1).any()):
            weights = weights.masked_fill(forbidden, 0)
    else:
        weights = scores.softmax(dim=-1)
    weights = F.dropout(weights.to(problem.value.dtype), problem.dropout)
    return ungrouped(grouped(weights, group) @ problem.value, group)
