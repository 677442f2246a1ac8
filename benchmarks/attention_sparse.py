"""Attention to few keys: sliding windows, Longformer and BigBird against the packages people use, and dense kernels.

Windows: ours against `local-attention` at the same exact window, both given queries, keys and values of 4 heads of 64.
Longformer and BigBird: whole layers against Hugging Face's, from tokens to heads; neither side projects back. Hugging
Face's Longformer projects its global tokens a second time, with weights of their own, which is part of its design;
here both get the same weights. Its BigBird runs in training mode, for in evaluation it does not draw random blocks.
Dense: `attend` in bfloat16 training against PyTorch's own fused attention, and in float32, where both are one call.
Before anything is timed, both sides are seen to compute the same.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from local_attention import LocalAttention
from torch import Tensor, nn
from transformers import BigBirdConfig, LongformerConfig
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from archaeology.attention import BigBird, MultiHeadAttention, SlidingWindow, attend, band
from archaeology.attention.big_bird import random_blocks
from archaeology.core.allocation import tune_allocation
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

HEADS, DIM, RADIUS, NUM_GLOBAL, BLOCK, RANDOM = 4, 64, 128, 16, 64, 3
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
Run = Callable[[], object]


def main() -> None:
    given = setting(__doc__)
    tune_allocation()
    report("attention_sparse", given, comparisons(given))


def comparisons(given: Setting) -> list[Comparison]:
    lengths = (512,) if given.small else LENGTHS
    return [
        *windows(given, lengths, torch.float32, 1.15),
        *windows(given, lengths, torch.bfloat16, 1.4),
        *longformer(given, lengths),
        *big_bird(given, [1024] if given.small else lengths[1:-1]),
        *dense(given, lengths[:3]),
        *scaling(given, (512, 1024) if given.small else lengths[1:]),
    ]


def windows(given: Setting, lengths: Sequence[int], dtype: torch.dtype, target: float) -> list[Comparison]:
    lines = []
    ours = SlidingWindow(radius=RADIUS)
    theirs = LocalAttention(RADIUS, exact_windowsize=True, use_rotary_pos_emb=False)
    for length in lengths:
        inputs = tensors(length, dtype)
        same(ours, theirs, inputs)
        case = f"window of {RADIUS} to each side, {name(dtype)}, {length} tokens"
        lines += both(given, case, "local-attention", ours, theirs, inputs, target)
        if length <= 4096:
            whole = partial(attend, mask=band(RADIUS), kernel="fused")
            lines += both(given, case, "torch", ours, whole, inputs, None if length < 1024 else 1.0)
    return lines


def longformer(given: Setting, lengths: Sequence[int]) -> list[Comparison]:
    lines = []
    width = HEADS * DIM
    config = LongformerConfig(
        hidden_size=width,
        num_attention_heads=HEADS,
        attention_window=[2 * RADIUS],
        attention_probs_dropout_prob=0.0,
    )
    layer = LongformerSelfAttention(config, 0)
    for part in ("query", "key", "value"):
        getattr(layer, f"{part}_global").load_state_dict(getattr(layer, part).state_dict())
    ours = with_weights_of(layer, "longformer", {"radius": RADIUS, "num_global": NUM_GLOBAL})
    for length in lengths:
        tokens = torch.randn(1, length, width, requires_grad=True)
        is_global = torch.arange(length)[None] < NUM_GLOBAL
        options = {
            "attention_mask": is_global * 10_000.0,
            "is_index_masked": torch.zeros(1, length, dtype=torch.bool),
            "is_index_global_attn": is_global,
            "is_global_attn": True,
        }
        theirs = first_of(layer, options)
        same(ours, theirs, [tokens])
        case = f"Longformer layer, {NUM_GLOBAL} global tokens, {length} tokens"
        lines += both(given, case, "transformers", ours, theirs, [tokens], 1.3)
    return lines


def big_bird(given: Setting, lengths: Sequence[int]) -> list[Comparison]:
    lines = []
    width = HEADS * DIM
    config = BigBirdConfig(
        hidden_size=width,
        num_attention_heads=HEADS,
        block_size=BLOCK,
        num_random_blocks=RANDOM,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=LENGTHS[-1],
    )
    layer = BigBirdBlockSparseAttention(config, seed=0).train()
    for length in lengths:
        tokens = torch.randn(1, length, width, requires_grad=True)
        blocked, middle, rows, columns = BigBirdModel.create_masks_for_block_sparse_attn(
            torch.ones(1, length), BLOCK
        )
        options = {
            "band_mask": middle,
            "from_mask": rows,
            "to_mask": columns,
            "from_blocked_mask": blocked,
            "to_blocked_mask": blocked,
        }
        ours = with_weights_of(layer, "big_bird", {"block_size": BLOCK, "num_random": RANDOM})
        same_big_bird(ours, layer, options, tokens)
        case = f"BigBird layer, {RANDOM} random blocks of {BLOCK}, {length} tokens"
        lines += both(given, case, "transformers", ours, first_of(layer, options), [tokens], 1.45)
    return lines


def same_big_bird(
    ours: MultiHeadAttention, layer: BigBirdBlockSparseAttention, options: dict, tokens: Tensor
) -> None:
    """Both agree on the blocks that we draw: theirs may draw a block twice, and then counts it twice."""
    generator = torch.Generator().manual_seed(0)
    table = random_blocks(HEADS, tokens.shape[1] // BLOCK, RANDOM, generator)
    drawn = [part.numpy() for part in table[:, 1:-1]]  # theirs lists none for the first and the last block
    rest = iter(drawn)
    chosen, ours.mechanism = ours.mechanism, BigBird(block_size=BLOCK, table=table)
    layer._bigbird_block_rand_mask = lambda *_, **__: next(rest)
    layer._bigbird_block_rand_mask_with_head = lambda *_, **__: drawn
    same(ours, first_of(layer, options), [tokens])
    del layer._bigbird_block_rand_mask, layer._bigbird_block_rand_mask_with_head
    ours.mechanism = chosen


def dense(given: Setting, lengths: Sequence[int]) -> list[Comparison]:
    lines = []
    for dtype, target in (
        (torch.bfloat16, 1.7),
        (torch.float32, 0.95),
    ):  # one call against itself is noise around 1
        for length in lengths:
            inputs = tensors(length, dtype)
            same(attend, F.scaled_dot_product_attention, inputs)
            case = f"all tokens, training in {name(dtype)}, {length} tokens"
            lines += both(
                given,
                case,
                "torch",
                attend,
                F.scaled_dot_product_attention,
                inputs,
                target,
                only_training=True,
            )
    return lines


def scaling(given: Setting, lengths: Sequence[int]) -> list[Comparison]:
    """How time grows with length: the slope in a plot with logarithmic axes."""
    lines = []
    ours = SlidingWindow(radius=RADIUS)
    for dtype in (torch.float32, torch.bfloat16):
        runs = [partial(train, ours, tensors(length, dtype)) for length in lengths]
        taken = seconds(given, *runs, rounds=5)
        slope = float(np.polyfit(np.log(lengths), np.log(taken), 1)[0])
        case = (
            f"window, {name(dtype)}, forward + backward, exponent over {lengths[0]} to {lengths[-1]} tokens"
        )
        lines.append(comparison(case, "torch", ours=slope, theirs=1.15, unit="at most", target=1.0))
    return lines


def both(
    given: Setting,
    case: str,
    peer: str,
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    inputs: list[Tensor],
    target: float | None,
    *,
    only_training: bool = False,
) -> list[Comparison]:
    """Forward alone, which must not be slower, and with the backward pass, which has the target."""
    lines = []
    rounds = max(5, min(15, 20_000 // inputs[0].shape[-2]))
    kinds = [("forward + backward", train, target)]
    if not only_training:
        kinds.insert(0, ("forward", infer, None if target is None else 1.0))
    for kind, run, least in kinds:
        mine, other = seconds(given, partial(run, ours, inputs), partial(run, theirs, inputs), rounds=rounds)
        least = None if given.small else least
        label = f"{case}, {kind}"
        lines.append(comparison(label, peer, ours=mine * 1e3, theirs=other * 1e3, unit="ms", target=least))
    return lines


def infer(layer: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    with torch.no_grad():
        layer(*inputs)


def train(layer: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    layer(*inputs).sum().backward()
    for tensor in inputs:
        tensor.grad = None
    if isinstance(layer, nn.Module):
        layer.zero_grad()


def same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    """Answers and gradients agree."""
    found = []
    for layer in (ours, theirs):
        answer = layer(*inputs)
        upstream = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).to(answer)
        found.append([answer, *torch.autograd.grad(answer, inputs, upstream)])
    tolerance = 1e-4 if inputs[0].element_size() == 4 else 4e-2
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, atol=tolerance, rtol=tolerance)


def tensors(length: int, dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(1, HEADS, length, DIM, dtype=dtype, requires_grad=True) for _ in range(3)]


def with_weights_of(layer: nn.Module, mechanism: str, options: dict[str, int]) -> MultiHeadAttention:
    """Our layer with the projections of theirs; as theirs, it does not project back."""
    ours = MultiHeadAttention(HEADS * DIM, HEADS, mechanism=mechanism, options=options)
    parts = [getattr(layer, part) for part in ("query", "key", "value")]
    ours.qkv.load_state_dict(
        {
            "weight": torch.cat([part.weight for part in parts]),
            "bias": torch.cat([part.bias for part in parts]),
        }
    )
    ours.proj = nn.Identity()
    return ours


def first_of(layer: nn.Module, options: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Hugging Face's layers answer with tuples."""

    def answer(tokens: Tensor) -> Tensor:
        result = layer(tokens, **options)[0]
        return result.reshape(*tokens.shape[:2], -1)

    return answer


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main())
