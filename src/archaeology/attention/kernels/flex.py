"""FlexAttention behind the same masks: PyTorch writes a fused kernel for the mask and skips what is empty in it.

`dong2024flex`. Meant for a GPU, where it is compiled. On a CPU it runs uncompiled, as slow as the definition, and has
no backward pass (PyTorch 2.15); it is there so that the same masks can be tested. Differs from its usual use: which
blocks hold anything comes from the mask (`Mask.blocks`) and not from trying every pair, which takes seconds and
gigabytes at 8,192 tokens.
"""

import warnings
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from archaeology.attention.biases import Bias
from archaeology.attention.kernels.problem import Problem
from archaeology.attention.kernels.registry import kernels
from archaeology.attention.masks import Mask, Spans

BLOCK = 128  # tokens in a block, as FlexAttention likes them


@kernels.register("flex")
def flex(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """One call of FlexAttention.

    Raises:
        ValueError: If weights are to be dropped, or if gradients are needed on a CPU.
    """
    query = problem.query
    learns = problem.needs_gradient or _learns(problem.bias)
    if query.device.type == "cpu" and learns:
        raise ValueError("The flex kernel cannot compute gradients on a CPU; use kernel='auto'.")
    if problem.dropout:
        raise ValueError(f"The flex kernel cannot drop weights, but got dropout={problem.dropout}.")
    with warnings.catch_warnings():  # that it is not compiled on a CPU is meant
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        return _compiled(query.device.type)(
            query,
            problem.key,
            problem.value,
            score_mod=None if problem.bias is None else _adding(problem.bias, problem.query_offset),
            block_mask=None if problem.mask is None else block_mask(problem.mask, problem),
            scale=problem.scale,
            enable_gqa=problem.group > 1,
        )


def block_mask(mask: Mask, problem: Problem) -> BlockMask:
    """What FlexAttention needs to know: which blocks are empty, which are full, and the pairs of the others."""
    offset, device = problem.query_offset, problem.query.device
    num_queries, num_keys = problem.query.shape[2], problem.key.shape[2]
    mask_mod = lambda b, h, q, k: mask.allows(b, h, q + offset, k)  # noqa: E731
    known = mask.blocks(
        Spans.of(num_queries, BLOCK, offset=offset, device=device), Spans.of(num_keys, BLOCK, device=device)
    )
    shape = (1, 1) if known.some.ndim == 2 else (1, len(known.some))
    whole = known.every.view(*shape, *known.every.shape[-2:])
    part = known.some.view_as(whole) & ~whole
    return BlockMask.from_kv_blocks(
        *_listed(part),
        *_listed(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask_mod,
        seq_lengths=(num_queries, num_keys),
    )


def _listed(
    blocks: Bool[Tensor, "batch head query_block key_block"],
) -> tuple[Int[Tensor, "batch head query_block"], Int[Tensor, "batch head query_block key_block"]]:
    """How many blocks there are in each row, and their numbers, in order, before the numbers of the others."""
    numbers = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1).int(), numbers.int()


def _adding(bias: Bias, offset: int) -> Any:
    def score_mod(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + bias.scores(batch, head, query + offset, key)

    return score_mod


def _learns(bias: Bias | None) -> bool:
    """Whether a bias may need a gradient, as far as one can see."""
    tensors = [getattr(bias, "matrix", None), *getattr(bias, "parameters", tuple)()]
    needs = any(isinstance(tensor, Tensor) and tensor.requires_grad for tensor in tensors)
    return torch.is_grad_enabled() and needs


@lru_cache(maxsize=2)
def _compiled(device: str) -> Any:
    """FlexAttention, compiled where that pays."""
    return flex_attention if device == "cpu" else torch.compile(flex_attention, dynamic=False)
