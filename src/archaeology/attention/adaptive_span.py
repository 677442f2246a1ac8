"""Let every head learn how far it needs to look: most heads turn out to be short-sighted, and those become cheap.

`sukhbaatar2019adaptive`: the weight of a key is multiplied by a soft mask, 1 up to the learned span, then falling to 0
over a ramp, and the row is normalised again. Multiplying weights before normalising is adding the logarithm to the
score, so the soft mask is a bias here, and what lies beyond the ramp a mask, which the kernel of sliding windows uses.
Differs: the span reaches to both sides unless a causal mask cuts one off, and a span at its bound, which the paper
clamps, stays there only as long as the loss pushes it outwards.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.attention.biases import Bias, Sum
from archaeology.attention.masks import Mask, Reach
from archaeology.attention.mechanism import Facts, LayerShape, mechanisms
from archaeology.attention.softmax import Softmax

Index = Int[Tensor, "..."]
Spans = Float[Tensor, " head"]


def soft_mask(distance: Index, span: Float[Tensor, "..."], ramp: float) -> Float[Tensor, "..."]:
    """Equation 5 of the paper: 1 up to the span, then straight down to 0 at `span + ramp`."""
    return ((ramp + span - distance) / ramp).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class WithinSpan(Mask):
    """Keys for which the soft mask is not 0."""

    spans: Spans
    ramp: float
    by_head = True
    by_distance = True

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Bool[Tensor, "..."]:
        """Whether the head's ramp has not ended."""
        return soft_mask((query - key).abs(), self.spans[head], self.ramp) > 0

    def reach(self) -> Reach:
        """That of the head that looks farthest."""
        farthest = math.ceil(
            float(self.spans.max()) + self.ramp
        )  # one more than needed: rounding costs no key
        return Reach(farthest, farthest)


@dataclass(frozen=True, eq=False)
class SpanBias:
    """The logarithm of the soft mask, minus infinity beyond it; gradients reach the spans."""

    spans: Spans
    ramp: float
    by_distance = True

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """0 for keys within the span, less and less on the ramp."""
        mask = soft_mask((query - key).abs(), self.spans[head], self.ramp)
        beyond = mask == 0
        return mask.masked_fill(beyond, 1).log().masked_fill(beyond, float("-inf"))


@mechanisms.register("adaptive_span")
class AdaptiveSpan(Softmax):
    """Exact attention within a span that each head learns."""

    supports = Softmax.supports - {"cross"}
    facts = Facts(
        title="Adaptive span",
        formula="softmax(QK^T / sqrt(d) + log clamp((R + z_h - |i - j|) / R, 0, 1)) V",
        time="N (max z + R) d",
        memory="N (max z + R)",
        relation="sparse",
        source="sukhbaatar2019adaptive",
    )

    def __init__(
        self,
        num_heads: int,
        *,
        max_span: int = 1024,
        ramp: float = 32.0,
        initial_span: float = 0.0,
        scale: float | None = None,
        dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        """Build with the same span for all heads.

        Args:
            num_heads: Heads of the queries, each with its span.
            max_span: The most that a head may learn, in tokens.
            ramp: Over how many tokens the soft mask falls; gradients come from there.
            initial_span: Where all spans start, in tokens.
            scale: As in `Softmax`, likewise `dropout` and `kernel`.
            dropout: Share of weights dropped in training.
            kernel: Which kernel to use.

        Raises:
            ValueError: If a size is not positive or the initial span is not between 0 and the largest.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        if num_heads < 1 or max_span < 1 or ramp <= 0 or not 0 <= initial_span <= max_span:
            raise ValueError(
                "adaptive spans need num_heads >= 1, max_span >= 1, ramp > 0 and 0 <= initial_span <= max_span, but "
                f"got {num_heads=}, {max_span=}, {ramp=}, {initial_span=}."
            )
        self.max_span, self.ramp = max_span, ramp
        self.share = nn.Parameter(torch.full((num_heads,), initial_span / max_span))

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "AdaptiveSpan":
        """One span for each head; at most the whole sequence, where its length is known."""
        known: Mapping[str, Any] = {} if shape.num_tokens is None else {"max_span": shape.num_tokens}
        return cls(shape.num_heads, **{**known, **options})

    def spans(self) -> Spans:
        """How far each head looks before its ramp begins, in tokens; differentiable."""
        share = self.share.float() if self.share.element_size() < 4 else self.share
        return self.max_span * _Bounded.apply(share)

    def penalty(self) -> Float[Tensor, ""]:
        """The mean span in tokens: add it to the loss, times what a token of span may cost (the paper: 2e-6)."""
        return self.spans().mean()

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """Whatever lies within span and ramp now."""
        return WithinSpan(self.spans().detach(), self.ramp)

    def check(
        self, query: Tensor, key: Tensor, mask: Mask | None, bias: Bias | None, query_offset: int
    ) -> None:
        """As for all mechanisms, and there must be a span for each head."""
        super().check(query, key, mask, bias, query_offset)
        if query.shape[1] != len(self.share):
            raise ValueError(f"spans were made for {len(self.share)} heads, but got {query.shape[1]}.")

    def mix(self, query: Tensor, key: Tensor, value: Tensor, *, bias: Bias | None, **where: Any) -> Tensor:
        """Attend with the soft mask among the biases."""
        return super().mix(query, key, value, bias=self.joint_bias(bias), **where)

    def rows_of_pattern(self, query: Tensor, key: Tensor, *, bias: Bias | None, **where: Any) -> Tensor:
        """Likewise."""
        return super().rows_of_pattern(query, key, bias=self.joint_bias(bias), **where)

    def joint_bias(self, bias: Bias | None) -> Bias:
        """The soft mask, and what the caller adds."""
        own = SpanBias(self.spans(), self.ramp)
        return own if bias is None else Sum(own, bias)


class _Bounded(torch.autograd.Function):
    """Clamp to [0, 1]; a gradient that would push further outwards is dropped, one that leads back is kept."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return share.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (share,) = ctx.saved_tensors
        outwards = ((share <= 0) & (gradients[0] > 0)) | ((share >= 1) & (gradients[0] < 0))
        return gradients[0].masked_fill(outwards, 0)
