"""A sum over the past of every token, in chunks: every pair within a chunk, one state for all that lies before it.

For features `q`, `k` and values `v`, row `i` of the result is `sum over j <= i of (q_i . k_j) v_j`, which
`katharopoulos2020transformers` (equations 16 to 20, algorithm 1) makes token by token. Differs: chunks of 64 tokens
turn it into matrix products, and only one state per chunk is kept; the derivative is written out, because what
autograd would keep and add up takes longer than the products.

The chunks of all examples and heads lie in one row, so that "the state before a chunk" is a view, shifted by one place.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CHUNK = 64  # tokens; for 64 to 256 features from 32 to 128 are as fast


def causal_product(
    query: Float[Tensor, "batch head token feature"],
    key: Float[Tensor, "batch head token feature"],
    value: Float[Tensor, "batch head token dim"],
    *,
    level: Float[Tensor, "#batch #head token"] | None = None,
    chunk: int = CHUNK,
) -> Float[Tensor, "batch head token dim"]:
    """For every token `i` the sum over `j <= i` of `(query_i . key_j) exp(level_j - level_i) value_j`.

    Args:
        query: Features of the queries.
        key: Features of the keys.
        value: What is added up.
        level: Never falls along the sequence; None for 0. With it a key can be written relative to the largest one so
            far, and stays in range without a look ahead. It is taken as constant by the derivative.
        chunk: Tokens within which every pair is computed.
    """
    batch, heads, tokens, _ = query.shape
    chunk = min(chunk, tokens)
    rest = -tokens % chunk
    level = query.new_zeros(1, 1, tokens) if level is None else level.detach()
    level = torch.cat([level, level[..., -1:].expand(-1, -1, rest)], dim=-1).expand(batch, heads, -1)
    split = [extended(part, 0, rest).reshape(-1, chunk, part.shape[-1]) for part in (query, key, value)]
    level = level.reshape(batch * heads, -1, chunk)
    sums = PastSums.apply(*split, level)
    return sums.reshape(batch, heads, tokens + rest, -1)[:, :, :tokens]


def extended(tokens: Float[Tensor, "batch head token dim"], before: int, after: int) -> Tensor:
    """With so many zeros before the first token and after the last; the tensor itself where there are none."""
    return F.pad(tokens, (0, 0, before, after)) if before or after else tokens


class PastSums(torch.autograd.Function):
    """The sums, chunk by chunk, and their derivative."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, level: Tensor) -> Tensor:
        """From chunks (row * chunk, token, feature) and levels (row, chunk, token); a row is one head of an example."""
        fading, since, until, between = factors(level)
        pairs = torch.bmm(query, key.mT).mul_(fading)
        shifted = query.new_empty(len(query) + 1, key.shape[2], value.shape[2])
        torch.bmm(
            key.mT, value * until, out=shifted[1:]
        )  # what each chunk adds lies where the next one looks
        states = shifted[:-1]
        by_row = states.unflatten(0, level.shape[:2])
        by_row[:, 0] = 0
        for i in range(2, level.shape[1]):
            by_row[:, i].addcmul_(by_row[:, i - 1], between[:, i - 1])
        sums = torch.bmm(query, states).mul_(since).baddbmm_(pairs, value)
        ctx.save_for_backward(query, key, value, pairs, states, level)
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """The same sums, run backwards."""
        query, key, value, pairs, states, level = ctx.saved_tensors
        fading, since, until, between = factors(level)
        sums = gradients[0].contiguous()
        faded = sums * since
        shifted = query.new_empty(len(query) + 1, key.shape[2], value.shape[2])
        torch.bmm(query.mT, faded, out=shifted[:-1])
        by_row = shifted[:-1].unflatten(0, level.shape[:2])
        for i in range(level.shape[1] - 2, 0, -1):
            by_row[:, i].addcmul_(by_row[:, i + 1], between[:, i])
        by_row[:, 0] = 0  # nothing comes after the last chunk of the row before
        shifted[-1] = 0
        states_ahead = shifted[1:]
        of_pairs = torch.bmm(sums, value.mT).mul_(fading)
        of_query = torch.bmm(of_pairs, key).baddbmm_(faded, states.mT)
        of_key = torch.bmm(of_pairs.mT, query).baddbmm_(value * until, states_ahead.mT)
        of_value = torch.bmm(key, states_ahead).mul_(until).baddbmm_(pairs.mT, sums)
        return of_query, of_key, of_value, None


def factors(level: Float[Tensor, "row chunk token"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """By how much a sum fades while the level rises; all are at most one.

    Returns:
        From every token of a chunk to every later one, zero to earlier ones; from the end of the chunk before to every
        token; from every token to the end of its chunk; and from the end of the chunk before to the end of each.
    """
    end = level[..., -1:]
    before = torch.cat([level[:, :1, :1], end[:, :-1]], dim=1)
    fading = (level[..., None, :] - level[..., None]).exp_().tril_()
    since, until = (before - level).exp(), (level - end).exp()
    between = (before - end).exp()[..., None]
    return fading.flatten(0, 1), since.flatten(0, 1)[..., None], until.flatten(0, 1)[..., None], between
