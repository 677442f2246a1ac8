"""Rollout from an answer's tokens through a decoder and across to the image: whom each query looked at, and whom those.

A decoder layer mixes its queries by self-attention, then adds to each what it read of the encoder. With every residual
connection as an identity of equal weight, as in `abnar2020quantifying`,

    self-attention    Q <- A Q,        C <- A C              A = (heads + I) / row sums
    cross-attention   Q <- Q / 2,      C <- (C + X E) / 2    X = heads / row sums, E the rollout of the encoder

where Q (query x query) says how much of a query is left of what the decoder's queries started as, and C (query x input
token) how much came from each token that entered the encoder. Rows of Q and C together sum to one. `chefer2021generic`
has such rules for relevance with gradients; these are theirs, with rollout's matrices in place of theirs and without
gradients. Only the rows asked for are pushed, from the last layer to the first, so no product of matrices is formed.

This is no method of the registry: a specimen answers with logits, and an encoder-decoder answers with tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.interceptor import intercepted
from archaeology.core.shapes import Pattern
from archaeology.explain.explanation import Explanation
from archaeology.explain.rollout import fused_heads

Rows = Float[Tensor, "batch row token"]
OfTokens = Float[Tensor, "batch _ token token"]  # heads may be others in every layer
OfQueries = Float[Tensor, "batch _ query query"]
Across = Float[Tensor, "batch _ query token"]


@dataclass(frozen=True, eq=False)
class CrossShares:
    """Where what is read at the end came from; each row of both together sums to one.

    Attributes:
        tokens: Share of each token that entered the encoder.
        queries: Share of each query that the decoder started with.
    """

    tokens: Float[Tensor, "batch row token"]
    queries: Float[Tensor, "batch row query"]


def cross_rolled(
    encoder_patterns: Sequence[OfTokens],
    decoder_self: Sequence[OfQueries | None],
    cross: Sequence[Across],
    start: Float[Tensor, "batch row query"],
    *,
    head_fusion: str = "mean",
) -> CrossShares:
    """`start` pushed back through a decoder and across to what entered the encoder; see the module for the rule.

    Args:
        encoder_patterns: Self-attention of the encoder, first to last; none where there is no encoder.
        decoder_self: Self-attention of each decoder layer, first to last; None for a layer without.
        cross: Cross-attention of each decoder layer, after its self-attention.
        start: What is read at the end: one row for each map wanted, such as a one at a single query.
        head_fusion: How heads become one matrix: mean, max or min.

    Raises:
        ValueError: If there is no cross-attention, or not one entry of `decoder_self` for each.
        UnknownNameError: If `head_fusion` is none of mean, max and min.
    """
    if not cross or len(decoder_self) != len(cross):
        raise ValueError(
            "cross-attention must be given for each decoder layer, with its self-attention (or None), but got "
            f"{len(cross)} of cross-attention and {len(decoder_self)} of self-attention."
        )
    queries = start
    tokens = start.new_zeros(*start.shape[:2], cross[0].shape[-1])
    for own, across in zip(reversed(decoder_self), reversed(cross), strict=True):
        looked = fused_heads(across, head_fusion)
        sums = looked.sum(dim=-1)[:, None]
        # A query that may look nowhere (or at things of no weight) adds nothing to itself.
        halved = torch.where(sums > 0, queries / 2, queries)
        tokens = tokens + (halved / torch.where(sums > 0, sums, 1)) @ looked
        queries = halved if own is None else _mixed(halved, own, head_fusion)
    for pattern in reversed(encoder_patterns):
        tokens = _mixed(tokens, pattern, head_fusion)
    return CrossShares(tokens, queries)


def _mixed(rows: Rows, pattern: Pattern, head_fusion: str) -> Rows:
    fused = fused_heads(pattern, head_fusion)
    shared = rows / (fused.sum(dim=-1)[:, None] + 1)
    return shared @ fused + shared


@dataclass(frozen=True, eq=False)
class EncoderDecoderPatterns:
    """The attention of one pass of an encoder-decoder, by what it is for; arguments of `cross_rolled`."""

    encoder: tuple[OfTokens, ...]
    decoder_self: tuple[OfQueries | None, ...]
    cross: tuple[Across, ...]


@torch.no_grad()
def encoder_decoder_patterns(model: nn.Module, *inputs: Tensor) -> EncoderDecoderPatterns:
    """Run a model and sort its attention into encoder, decoder and what passes between.

    A layer belongs to the decoder where it is a sibling of a cross-attention, and runs just before it.

    Args:
        model: In evaluation mode; a world model of ours, DETR and its like, `nn.Transformer`.
        inputs: What it is called with.

    Raises:
        ValueError: If it has no cross-attention, or some layer fits neither part.
    """
    seen: list[tuple[str, Kind, Pattern]] = []

    def keep(attention: Attention) -> None:
        seen.append((attention.module, attention.kind, attention.pattern()))

    with intercepted(model, keep):
        model(*inputs)
    encoder: list[Pattern] = []
    own: list[Pattern | None] = []
    cross: list[Pattern] = []
    waiting: tuple[str, Pattern] | None = None
    for number, (module, kind, pattern) in enumerate(seen):
        if kind in ("cross", "pool") or _crosses_after(seen, number):
            own.append(waiting[1] if waiting is not None and waiting[0] == _parent(module) else None)
            if waiting is not None and own[-1] is None:
                encoder.append(waiting[1])
            cross.append(pattern)
            waiting = None
            continue
        if waiting is not None:
            encoder.append(waiting[1])
        waiting = (_parent(module), pattern)
    if not cross or waiting is not None:
        raise ValueError(
            "cross-attention must be the last attention of the model, but among its "
            f"{len(seen)} layers are {len(cross)} of cross-attention"
            f"{'' if waiting is None else ', and others after the last'}; use rollout for a model without a decoder."
        )
    sizes = {pattern.shape[-1] for pattern in (*encoder, *cross)}
    if len(sizes) > 1:
        raise ValueError(
            f"encoder and cross-attention must look at the same tokens, but they look at {sorted(sizes)} tokens."
        )
    return EncoderDecoderPatterns(tuple(encoder), tuple(own), tuple(cross))


def _parent(module: str) -> str:
    return module.rpartition(".")[0]


def _crosses_after(seen: Sequence[tuple[str, Kind, Tensor]], number: int) -> bool:
    """Whether a layer taken for self-attention, as it has as many keys as queries, is the second of two siblings."""
    module, kind, _ = seen[number]
    if number == 0 or kind != "token":
        return False
    before = seen[number - 1]
    is_second = before[1] == "token" and before[0] != module and _parent(before[0]) == _parent(module)
    return is_second and _parent(module) != "" and not module.rpartition(".")[2].isdigit()


def cross_rollout(
    model: nn.Module,
    images: Tensor,
    grid: tuple[int, int],
    *,
    query: int | None = None,
    head_fusion: str = "mean",
) -> Explanation:
    """Which patches of the input the answer's token `query` is made of; the mean over all queries if None.

    Args:
        model: An encoder-decoder in evaluation mode, called with `images` alone.
        images: As the model takes them.
        grid: Rows and columns of the patches that enter the encoder, which has no other tokens.
        query: Number of an output token.
        head_fusion: mean, max or min over heads.

    Raises:
        ValueError: If the model has no cross-attention, the grid is not that of its tokens, or there is no such query.

    References:
        `abnar2020quantifying`, `chefer2021generic`. Differs: see the module.
    """
    found = encoder_decoder_patterns(model, images)
    last = found.cross[-1]
    batch, _, num_queries, num_tokens = last.shape
    if num_tokens != grid[0] * grid[1]:
        raise ValueError(
            f"grid must hold the {num_tokens} tokens that the decoder looks at, but got {grid[0]} x {grid[1]}."
        )
    if query is not None and not 0 <= query < num_queries:
        raise ValueError(
            f"query must be one of the {num_queries} of the decoder, numbered from 0, but got {query}."
        )
    start = last.new_full((batch, 1, num_queries), 1 / num_queries)
    if query is not None:
        start = torch.zeros_like(start)
        start[:, :, query] = 1
    shares = cross_rolled(found.encoder, found.decoder_self, found.cross, start, head_fusion=head_fusion)
    what = "mean row" if query is None else f"row {query}"
    return Explanation(
        heatmap=shares.tokens[:, 0].clamp(min=0).unflatten(1, grid),
        method="cross_rollout",
        parameters={"grid": grid, "query": query, "head_fusion": head_fusion},
        formula=(
            f"A = 0.5 * {head_fusion} over heads + 0.5 * I; self-attention Q <- A Q, C <- A C; cross-attention "
            f"Q <- Q / 2, C <- (C + X E) / 2; {what} of C after {len(found.cross)} decoder layers, E the rollout of "
            f"{len(found.encoder)} encoder layers"
        ),
        facts={"left_in_queries": shares.queries[:, 0].sum(dim=-1)},
    )
