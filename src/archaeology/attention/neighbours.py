"""Softmax over the seats nearby: every chunk looks at itself and at the chunk before, in several rounds at once.

A token sits once in every round of `Seating`. What it sees in all rounds goes into one softmax, in which a key that was
met twice counts twice: combining the rounds by a softmax over their log-sum-exps (`kitaev2020reformer`, equation 6) is
the same. The work is done for some chunks at a time, which stay in the processor's cache, and scores are computed
again in the backward pass instead of kept (`dao2022flashattention`).
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.seating import Seating

CHUNKS_AT_ONCE = 16  # of 64 x 128 scores in float32: half a megabyte
NOTHING = float("-inf")


class Neighbours(torch.autograd.Function):
    """The answers to all tokens and the log-sum-exp of what they saw; that is minus infinity for who saw nothing."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Float[Tensor, "token dim"],
        key: Float[Tensor, "token dim"],
        value: Float[Tensor, "token value_dim"],
        seating: Seating,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor]:
        """Tokens of all rows, counted through as in `seating`; nobody sees itself or, if causal, a later seat."""
        seated = Seated(seating, is_causal, query, key, value)
        answers = torch.empty_like(seated.own(seated.value))
        highest = query.new_empty(*answers.shape[:2], 1)
        totals = torch.empty_like(highest)
        for some in seated.blocks():
            scores = seated.scores(some)
            torch.amax(scores, dim=-1, keepdim=True, out=highest[some])
            weights = scores.sub_(finite(highest[some])).exp_()
            torch.sum(weights, dim=-1, keepdim=True, out=totals[some])
            torch.bmm(weights, seated.around(seated.value)[some], out=answers[some])
        level = (highest + totals.log()).flatten()[seating.seat].logsumexp(dim=-1)
        share = (highest.flatten()[seating.seat] - finite(level)[:, None]).exp()
        result = gathered(answers, seating, share)
        ctx.save_for_backward(query, key, value, result, level)
        ctx.seating, ctx.is_causal = seating, is_causal
        ctx.mark_non_differentiable(level)
        return result, level

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """As of one softmax: the weights times what a value's gradient exceeds the mean by."""
        query, key, value, result, level = ctx.saved_tensors
        seating: Seating = ctx.seating
        seated = Seated(seating, ctx.is_causal, query, key, value)
        arriving = gradients[0].contiguous()
        mean = (arriving * result).sum(dim=-1)[seating.token].view(-1, seating.size, 1)
        level = finite(level)[seating.token]
        level[seating.empty] = -NOTHING  # what is not there weighs nothing
        level = level.view(-1, seating.size, 1)
        arriving = arriving.index_select(0, seating.token).view(-1, seating.size, arriving.shape[-1])
        of_query, of_key, of_value = (
            torch.zeros_like(part) for part in (seated.query, seated.key, seated.value)
        )
        for some in seated.blocks():
            weights = seated.scores(some).sub_(level[some]).exp_()
            seated.add_around(of_value, some, torch.bmm(weights.mT, arriving[some]))
            excess = torch.bmm(arriving[some], seated.around(seated.value)[some].mT).sub_(mean[some])
            of_scores = excess.mul_(weights)
            torch.bmm(of_scores, seated.around(seated.key)[some], out=of_query[some])
            seated.add_around(of_key, some, torch.bmm(of_scores.mT, seated.query[some]))
        of_key, of_value = seated.own(of_key), seated.own(of_value)
        return *(gathered(part, seating) for part in (of_query, of_key, of_value)), None, None


class Seated:
    """Queries, keys and values in their seats; keys and values with an empty chunk in front."""

    def __init__(self, seating: Seating, is_causal: bool, query: Tensor, key: Tensor, value: Tensor) -> None:
        self.seating, self.is_causal = seating, is_causal
        self.query = query.index_select(0, seating.token).view(-1, seating.size, query.shape[-1])
        self.key, self.value = (self._with_front(part) for part in (key, value))
        num_chunks = len(self.query)
        self.step = CHUNKS_AT_ONCE if query.device.type == "cpu" else num_chunks
        starts = range(0, num_chunks, self.step)
        self.is_hiding = dict(
            zip(starts, [bool(part.any()) for part in seating.hidden.split(self.step)], strict=True)
        )
        corner = torch.ones(seating.size, seating.size, dtype=torch.bool, device=query.device)
        self.ahead = corner.triu()

    def _with_front(self, part: Tensor) -> Tensor:
        size = self.seating.size
        seats = part.new_empty(len(self.seating.token) + size, part.shape[-1])
        seats[:size] = 0
        torch.index_select(part, 0, self.seating.token, out=seats[size:])
        return seats.view(-1, size, part.shape[-1])

    def blocks(self) -> list[slice]:
        """Chunks that are worked on together."""
        return [slice(start, start + self.step) for start in self.is_hiding]

    def own(self, seats: Float[Tensor, "chunk_and_front size dim"]) -> Float[Tensor, "chunk size dim"]:
        """Without the empty chunk in front."""
        return seats[1:]

    def around(self, seats: Float[Tensor, "chunk_and_front size dim"]) -> Float[Tensor, "chunk seen dim"]:
        """For every chunk the one before and itself, as an overlapping view."""
        chunks, size, dim = seats.shape
        return seats.as_strided((chunks - 1, 2 * size, dim), (size * dim, dim, 1))

    def add_around(self, seats: Tensor, some: slice, gain: Float[Tensor, "some seen dim"]) -> None:
        """Add to every chunk's own seats and to those of the chunk before."""
        before, own = gain.split(self.seating.size, dim=1)
        seats[some.start : some.start + len(gain)] += before
        seats[some.start + 1 : some.start + 1 + len(gain)] += own

    def scores(self, some: slice) -> Float[Tensor, "some size seen"]:
        """Products of queries and keys, minus infinity where nobody may look."""
        scores = torch.bmm(self.query[some], self.around(self.key)[some].mT)
        own = scores[:, :, self.seating.size :]
        if self.is_causal:
            own.masked_fill_(self.ahead, NOTHING)
        else:
            own.diagonal(dim1=1, dim2=2).fill_(NOTHING)
        if self.is_hiding[some.start]:
            scores.masked_fill_(self.seating.hidden[some, None], NOTHING)
        return scores


def finite(level: Tensor) -> Tensor:
    """Zero instead of minus infinity, so that a difference from it is no NaN."""
    return level.masked_fill(level == NOTHING, 0)


def gathered(
    seats: Float[Tensor, "chunk size dim"],
    seating: Seating,
    share: Float[Tensor, "token round"] | None = None,
) -> Float[Tensor, "token dim"]:
    """For every token the sum over its seats, each times its share."""
    return F.embedding_bag(seating.seat, seats.flatten(0, 1), mode="sum", per_sample_weights=share)
