"""One head of one example at a time: its scores stay in the processor's cache, and the gradient is written by hand.

Three things make this faster than the same products for all heads at once: the mask is what the product is added
to, so it costs no pass of its own; without gradients one buffer serves all heads; and the gradient of the softmax
needs the weights only, so nothing else is kept. `kernels.layout` says which keys a block of queries gets.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from archaeology.attention.kernels.layout import Layout, Scratch

Addend = Float[Tensor, "block row seen"]
Empty = Bool[Tensor, "block row"]
Visible = Callable[[int, int], tuple[Addend | None, Empty | None]]


def attend_by_head(
    query: Float[Tensor, "batch head block slot dim"],
    key: Float[Tensor, "batch key_head key dim"],
    value: Float[Tensor, "batch key_head key value_dim"],
    *,
    layouts: Sequence[Layout],
    visible: Visible,
    bias: Float[Tensor, "#batch #head #block #slot #seen"] | None = None,
    scale: float,
    dropout: float = 0.0,
) -> Float[Tensor, "batch head block slot value_dim"]:
    """Every block of queries attends to the keys that its layout gives it.

    Args:
        query: Queries, cut into blocks.
        key: What is looked at; each head serves a group of neighbouring query heads.
        value: What is averaged.
        layouts: Which keys each block sees; one for all heads, or one for each.
        visible: For an example and a head, what is added to the scores (0 where a pair is allowed, minus infinity
            where not, never a whole row of those; None if all are) and which queries see nothing (None if all do).
        bias: Numbers added to the scaled scores; any axis may be 1. Takes part in the gradient.
        scale: What scores are multiplied by.
        dropout: Share of weights set to zero after the softmax.
    """
    tensors = (query, key, value, bias)
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    return _ByHead.apply(query, key, value, bias, layouts, visible, scale, dropout, keep)


class _ByHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        layouts: Sequence[Layout],
        visible: Visible,
        scale: float,
        dropout: float,
        keep: bool,
    ) -> Tensor:
        """Scores, softmax, average; what the gradient needs is kept if `keep`."""
        result = value.new_empty(*query.shape[:-1], value.shape[-1])
        scratch = Scratch(query)
        kept, factors, empties = [], [], []
        for example, head, shared in _heads(query, key):
            layout = layouts[head % len(layouts)]
            addend, empty = visible(example, head)
            if bias is not None:
                bias_here = _shared(bias, example, head)
                addend, empty = without_empty_rows(bias_here if addend is None else addend + bias_here, empty)
            queries, keys = query[example, head], layout.take(key[example, shared], scratch).transpose(1, 2)
            scores = scratch("scores", *queries.shape[:2], keys.shape[2])
            if addend is None:
                torch.baddbmm(scores, queries, keys, beta=0, alpha=scale, out=scores)
            else:
                torch.baddbmm(addend, queries, keys, alpha=scale, out=scores)
            weights = torch.softmax(scores, -1) if keep else torch.softmax(scores, -1, out=scores)
            kept.append(weights if keep else None)
            if dropout:
                factors.append(F.dropout(torch.ones_like(weights), dropout))
                weights = weights * factors[-1]
            torch.bmm(weights, layout.take(value[example, shared], scratch), out=result[example, head])
            empties.append(empty)
            if empty is not None:
                result[example, head].masked_fill_(empty[..., None], 0)
        if keep:
            ctx.save_for_backward(query, key, value, *kept, *factors)
            ctx.bias_shape = None if bias is None else bias.shape
            ctx.given = layouts, scale, empties
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The chain rule, backwards through average, softmax and scores."""
        query, key, value, *kept = ctx.saved_tensors
        layouts, scale, empties = ctx.given
        kept, factors = kept[: len(empties)], kept[len(empties) :]
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        d_bias = upstream.new_zeros(ctx.bias_shape) if ctx.needs_input_grad[3] else None
        scratch = Scratch(query)
        for number, (example, head, shared) in enumerate(_heads(query, key)):
            layout, weights, above = layouts[head % len(layouts)], kept[number], upstream[example, head]
            if empties[number] is not None:
                above = above.masked_fill(empties[number][..., None], 0)
            values = layout.take(value[example, shared], scratch)
            d_weights = torch.bmm(above, values.transpose(1, 2), out=scratch("d_weights", *weights.shape))
            averaged = weights
            if factors:
                averaged = weights * factors[number]
                d_weights *= factors[number]
            layout.give(_transposed_product(averaged, above, scratch), d_value[example, shared], scratch)
            d_scores = torch.ops.aten._softmax_backward_data.out(
                d_weights, weights, -1, weights.dtype, grad_input=d_weights
            )
            if d_bias is not None:
                total = _shared(d_bias, example, head)
                total += d_scores.sum_to_size(total.shape)
            torch.bmm(d_scores, layout.take(key[example, shared], scratch), out=d_query[example, head])
            d_keys = _transposed_product(d_scores, query[example, head], scratch)
            layout.give(d_keys, d_key[example, shared], scratch)
        return d_query.mul_(scale), d_key.mul_(scale), d_value, d_bias, *(None,) * 5


def without_empty_rows(addend: Addend, known: Empty | None = None) -> tuple[Addend, Empty | None]:
    """Rows of nothing but minus infinity become 0, so that their softmax is a number, and are told (None if none)."""
    empty = addend.detach().amax(-1) == -math.inf
    if not bool(empty.any()):
        return addend, known
    return addend.masked_fill(empty[..., None], 0), empty if known is None else empty | known


def _transposed_product(left: Tensor, right: Tensor, scratch: Scratch) -> Tensor:
    """The transpose of every block on the left times the block on the right."""
    product = scratch("product", left.shape[0], left.shape[2], right.shape[2])
    if len(left) > 1:
        return torch.bmm(left.transpose(1, 2), right, out=product)
    torch.mm(left[0].T, right[0], out=product[0])  # as a batch of one it takes 15 times as long in bfloat16
    return product


def _heads(query: Tensor, key: Tensor) -> list[tuple[int, int, int]]:
    """Every example, query head, and the key head that serves it."""
    group = query.shape[1] // key.shape[1]
    return [(b, h, h // group) for b in range(len(query)) for h in range(query.shape[1])]


def _shared(tensor: Tensor, example: int, head: int) -> Tensor:
    """The part of an example and a head, where all may share one."""
    return tensor[example % len(tensor), head % tensor.shape[1]]
