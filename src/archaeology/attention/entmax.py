"""Halfway between softmax and sparsemax: entmax-1.5 says zero to bad matches and still grades the good ones smoothly.

`peters2019sparse`, with alpha = 1.5: the weights are `max(score / 2 - threshold, 0) ** 2` with the one threshold that
makes them sum to one. Differs: the threshold is not found by sorting but by Newton's method on the Euclidean norm of
what stands out, which must be one; the norm is convex and nearly straight, so five or six steps are exact.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from archaeology.attention.mechanism import Facts, mechanisms
from archaeology.attention.sparsemax import below_largest
from archaeology.attention.weighting import Weighting

TOLERANCE = 4  # of the norm, in units of the last place


def entmax15(scores: Float[Tensor, "*row key"]) -> Float[Tensor, "*row key"]:
    """Weights over the last axis: at least 0, some of them exactly, and one in sum.

    Args:
        scores: Any numbers; minus infinity forbids a key, and a row without any other gets zeros. Half precision is
            computed in float32.
    """
    return Project.apply(scores)


class Project(torch.autograd.Function):
    """Squares of what stands out, with the derivative that follows from their roots."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        """Halved scores above the threshold keep what they have above it, squared."""
        gaps = below_largest(scores) / 2
        roots = torch.sub(gaps, threshold(gaps)).clamp_(min=0)
        ctx.save_for_backward(roots)
        return roots.square().to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The gradient loses its mean, weighted by the roots, so that the sum stays one."""
        (roots,) = ctx.saved_tensors
        inside = gradients[0] * roots
        mean = inside.sum(dim=-1, keepdim=True) / roots.sum(dim=-1, keepdim=True).clamp(min=0.5)
        return torch.addcmul(inside, roots, mean, value=-1).to(gradients[0].dtype)


def threshold(gaps: Float[Tensor, "*row key"]) -> Float[Tensor, "*row 1"]:
    """Where to cut rows whose largest number is 0, so that the squares of what stands out sum to one.

    Newton's method from the left on the norm of `max(gap - threshold, 0)`, which is convex in the threshold. A row
    that is done is not touched again, hence it does not depend on the rows beside it.
    """
    cut = torch.full_like(gaps[..., :1], -1) if gaps.shape[-1] else gaps.new_zeros(*gaps.shape[:-1], 1)
    moves = torch.ones_like(cut, dtype=torch.bool)
    least = TOLERANCE * torch.finfo(gaps.dtype).eps
    above = torch.empty_like(gaps)
    while True:
        torch.sub(gaps, cut, out=above).clamp_(min=0)
        norm = torch.linalg.vector_norm(above, dim=-1, keepdim=True)
        step = (norm - 1) * norm / above.sum(dim=-1, keepdim=True).clamp(min=0.5)
        moves = moves & (norm - 1 > least) & (cut + step > cut)
        if not bool(moves.any()):
            return cut
        cut = torch.where(moves, cut + step, cut)


@mechanisms.register("entmax15")
class Entmax15(Weighting):
    """Attention whose weights are exactly zero for bad matches."""

    facts = Facts(
        title="Entmax-1.5 attention",
        formula="max(QK^T / (2 sqrt(d)) - threshold, 0)^2 V",
        time="N^2 d",
        memory="N^2",
        relation="other",
        source="peters2019sparse",
    )

    def weigh(self, scores: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
        """`entmax15` of every row."""
        return entmax15(scores)
