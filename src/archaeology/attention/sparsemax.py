"""Softmax never says zero; sparsemax does: it takes the point of the simplex nearest to the scores.

`martins2016softmax`: the weights are `max(score - threshold, 0)` with the one threshold that makes them sum to one.
Differs: the threshold is not found by sorting but by Newton's method, which is the active-set method of
`michelot1986finite` started from the largest score minus one. A row needs no more steps than its support shrinks, in
practice five to eight, each of them a sum over the row.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.mechanism import Facts, mechanisms
from archaeology.attention.weighting import Weighting


def sparsemax(scores: Float[Tensor, "*row key"]) -> Float[Tensor, "*row key"]:
    """Weights over the last axis: at least 0, many of them exactly, and one in sum.

    Args:
        scores: Any numbers; minus infinity forbids a key, and a row without any other gets zeros. Half precision is
            computed in float32.
    """
    return Project.apply(scores)


class Project(torch.autograd.Function):
    """The nearest point of the simplex, with the derivative that follows from its support."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        """Scores above the threshold keep what they have above it."""
        gaps = below_largest(scores)
        weights = torch.sub(gaps, threshold(gaps)).clamp_(min=0).to(scores.dtype)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Within the support the gradient loses its mean, so that the sum stays one; outside it is zero."""
        (weights,) = ctx.saved_tensors
        support = weights.sign()
        inside = gradients[0] * support
        mean = inside.sum(dim=-1, keepdim=True) / support.sum(dim=-1, keepdim=True).clamp(min=1)
        return torch.addcmul(inside, support, mean, value=-1)


def below_largest(scores: Float[Tensor, "*row key"]) -> Float[Tensor, "*row key"]:
    """Scores minus the largest of their row, at least float32; rows that are all minus infinity stay so."""
    scores = scores.float() if scores.element_size() < 4 else scores
    if not scores.shape[-1]:
        return scores
    largest = scores.amax(dim=-1, keepdim=True)
    return scores - largest.masked_fill(largest == float("-inf"), 0)


def threshold(gaps: Float[Tensor, "*row key"]) -> Float[Tensor, "*row 1"]:
    """Where to cut rows whose largest number is 0, so that what stands out sums to one.

    Newton's method on `sum(max(gap - threshold, 0)) = 1`, from the left: the sum is convex in the threshold, so each
    step stays below the solution, the support only shrinks, and the step that leaves it as it is was the last. A row
    that is done is not touched again, hence it does not depend on the rows beside it.
    """
    cut = torch.full_like(gaps[..., :1], -1) if gaps.shape[-1] else gaps.new_zeros(*gaps.shape[:-1], 1)
    size = torch.full_like(cut, float("inf"))
    above = torch.empty_like(gaps)
    while True:
        torch.sub(gaps, cut, out=above).clamp_(min=0)
        surplus = above.sum(dim=-1, keepdim=True) - 1
        smaller = above.sign_().sum(dim=-1, keepdim=True)
        shrinks = smaller < size
        if not bool(shrinks.any()):
            return cut
        cut = torch.where(shrinks, cut + surplus / smaller.clamp(min=1), cut)
        size = smaller


@mechanisms.register("sparsemax")
class Sparsemax(Weighting):
    """Attention whose weights are exactly zero for most keys."""

    facts = Facts(
        title="Sparsemax attention",
        formula="max(QK^T / sqrt(d) - threshold, 0) V",
        time="N^2 d",
        memory="N^2",
        relation="other",
        source="martins2016softmax",
    )

    def weigh(self, scores: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
        """`sparsemax` of every row."""
        return sparsemax(scores)
