"""Attention in three steps, score, weigh, average, where the middle one need not be a softmax.

The steps are those of `vaswani2017attention`; what a subclass changes is how a row of scores becomes a row of
weights. The whole pattern is written down, because such weights have no fused kernel.
"""

from abc import abstractmethod

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.attention.biases import Bias
from archaeology.attention.kernels import Problem
from archaeology.attention.kernels.reference import masked_scores
from archaeology.attention.masks import Mask
from archaeology.attention.mechanism import Mechanism
from archaeology.attention.softmax import posed


class Weighting(Mechanism):
    """Exact scores, weighted another way than by a softmax."""

    supports = frozenset({"causal", "padding", "mask", "bias", "cross", "grouped", "cache"})

    def __init__(self, *, scale: float | None = None, dropout: float = 0.0) -> None:
        """`scale` multiplies the scores (`dim ** -0.5` if None), `dropout` drops weights in training."""
        super().__init__()
        self.scale, self.dropout = scale, dropout

    @abstractmethod
    def weigh(self, scores: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query key"]:
        """Weights of the keys; minus infinity among the scores means forbidden, and nothing else is infinite."""

    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
    ) -> Tensor:
        """Score, weigh, average."""
        dropout = self.dropout if self.training else 0.0
        problem = posed(query, key, value, mask, bias, self.scale, dropout, query_offset).with_repeated_keys()
        weights = F.dropout(self.weigh(masked_scores(problem)), problem.dropout)
        return weights.to(value.dtype) @ problem.value

    def rows_of_pattern(
        self,
        query: Tensor,
        key: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
        rows: Int[Tensor, " row"],
        heads: Int[Tensor, " asked"],
    ) -> Float[Tensor, "batch asked row key"]:
        """Only what is asked for is computed."""
        problem: Problem = posed(query, key, key, mask, bias, self.scale, query_offset=query_offset)
        return self.weigh(masked_scores(problem.only(rows, heads)))
