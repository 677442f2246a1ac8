"""Separate windows of equal size, one example at a time: tokens are brought side by side, and back, in one go.

The gradient is written by hand: it keeps the weights and nothing else, what is copied once for a window is copied once
for its gradient, and results are laid out as the projections beside attention read them.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def attend_in_windows(
    query: Float[Tensor, "batch head token dim"],
    key: Float[Tensor, "batch head token dim"],
    value: Float[Tensor, "batch head token value_dim"],
    addend: Float[Tensor, "head window place place"],
    *,
    slots: Int[Tensor, " slot"],
    places: Int[Tensor, " token"],
    beyond: Bool[Tensor, " slot"] | None,
    scale: float,
) -> Float[Tensor, "batch head token value_dim"]:
    """Every token attends to its window.

    Args:
        query: What looks.
        key: What is looked at.
        value: What is averaged.
        addend: Added to the scaled scores of each pair of places; takes part in the gradient. Minus infinity where a
            pair must not attend, but never for a whole row.
        slots: The token in each place of each window, window after window.
        places: Where among them each token is.
        beyond: Places that only fill up their window; their queries are nobody's. None if there are none.
        scale: What scores are multiplied by.
    """
    return _Windows.apply(query, key, value, addend, slots, places, beyond, scale)


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        addend: Tensor,
        slots: Tensor,
        places: Tensor,
        beyond: Tensor | None,
        scale: float,
    ) -> Tensor:
        size = addend.shape[-1]
        result, kept, together = _as_projected(query, value.shape[3]), [], addend.flatten(0, 1)
        for example in range(len(query)):
            queries, keys, values = (_gathered(each[example], slots, size) for each in (query, key, value))
            weights = torch.baddbmm(together, queries, keys.transpose(1, 2), alpha=scale).softmax(dim=-1)
            _scatter(weights @ values, places, result[example])
            kept.append(weights)
        ctx.save_for_backward(query, key, value, slots, places, beyond, *kept)
        ctx.scale, ctx.shape = scale, addend.shape
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, slots, places, beyond, *kept = ctx.saved_tensors
        gradients = [_as_projected(each, each.shape[3]) for each in (query, key, value)]
        d_addend = upstream.new_zeros(ctx.shape).flatten(0, 1)
        size = ctx.shape[-1]
        for example, weights in enumerate(kept):
            given = (query, key, value, upstream)
            queries, keys, values, above = (_gathered(each[example], slots, size) for each in given)
            if beyond is not None:
                above.view(len(query[0]), -1, above.shape[2]).masked_fill_(beyond[:, None], 0)
            d_weights = above @ values.transpose(1, 2)
            d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_addend += d_scores
            parts = (
                (d_scores @ keys).mul_(ctx.scale),
                (d_scores.transpose(1, 2) @ queries).mul_(ctx.scale),
                weights.transpose(1, 2) @ above,
            )
            for part, gradient in zip(parts, gradients, strict=True):
                _scatter(part, places, gradient[example])
        return *gradients, d_addend.view(ctx.shape), None, None, None, None


def _as_projected(like: Tensor, dim: int) -> Float[Tensor, "batch head token dim"]:
    """Room for an answer, token after token in memory with the heads of each side by side."""
    batch, heads, tokens, _ = like.shape
    return like.new_empty(batch, tokens, heads, dim).transpose(1, 2)


def _gathered(
    tokens: Float[Tensor, "head token dim"], slots: Tensor, size: int
) -> Float[Tensor, "part size dim"]:
    """The tokens of each window of each head."""
    return tokens.index_select(1, slots).view(-1, size, tokens.shape[2])


def _scatter(
    parts: Float[Tensor, "part size dim"], places: Tensor, out: Float[Tensor, "head token dim"]
) -> None:
    """Back from `_gathered`, into `out`."""
    out.copy_(parts.view(len(out), -1, parts.shape[2]).index_select(1, places))
