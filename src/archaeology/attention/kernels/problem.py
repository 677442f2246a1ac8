"""One attention to be computed: what every kernel is given, checked once at the border."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from archaeology.attention.biases import Bias, DenseBias
from archaeology.attention.masks import Band, Mask, Spans


@dataclass(frozen=True, eq=False)
class Problem:
    """Queries, keys, values, and what else decides the answer.

    Attributes:
        query: What looks.
        key: What is looked at; fewer heads than queries if each serves a group of neighbouring query heads.
        value: What is averaged, with as many heads as the keys.
        mask: Which pairs may attend; None for all.
        bias: Numbers added to the scaled scores.
        scale: What scores are multiplied by.
        dropout: Share of weights set to zero after the softmax.
        query_offset: Absolute position of the first query; the first key is at 0.
        chosen_rows: Absolute positions of the queries, where some were picked from a sequence.
        chosen_heads: Numbers of the heads, likewise.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch key_head key dim"]
    value: Float[Tensor, "batch key_head key value_dim"]
    mask: Mask | None
    bias: Bias | None
    scale: float
    dropout: float = 0.0
    query_offset: int = 0
    chosen_rows: Int[Tensor, " query"] | None = None
    chosen_heads: Int[Tensor, " head"] | None = None

    @property
    def group(self) -> int:
        """How many query heads share a key head."""
        return self.query.shape[1] // max(1, self.key.shape[1])

    @property
    def needs_gradient(self) -> bool:
        """Whether a backward pass may follow."""
        return torch.is_grad_enabled() and (
            self.query.requires_grad or self.key.requires_grad or self.value.requires_grad
        )

    @cached_property
    def query_positions(self) -> Int[Tensor, " query"]:
        """Absolute positions."""
        if self.chosen_rows is not None:
            return self.chosen_rows
        length = self.query.shape[2]
        return torch.arange(self.query_offset, self.query_offset + length, device=self.query.device)

    @cached_property
    def key_positions(self) -> Int[Tensor, " key"]:
        """Absolute positions."""
        return torch.arange(self.key.shape[2], device=self.key.device)

    @cached_property
    def heads(self) -> Int[Tensor, " head"]:
        """Numbers of the heads."""
        if self.chosen_heads is not None:
            return self.chosen_heads
        return torch.arange(self.query.shape[1], device=self.query.device)

    @cached_property
    def dense_mask(self) -> Bool[Tensor, "batch head query key"] | None:
        """The whole mask; batch and head are 1 where nothing differs between examples or heads."""
        if self.mask is None:
            return None
        batch = torch.arange(self.query.shape[0] if self.mask.by_batch else 1, device=self.query.device)
        head = self.heads if self.mask.by_head else self.heads[:1]
        allowed = self.mask.allows(
            batch[:, None, None, None], head[:, None, None], self.query_positions[:, None], self.key_positions
        )
        return allowed.expand(len(batch), len(head), self.query.shape[2], self.key.shape[2])

    @cached_property
    def dense_bias(self) -> Float[Tensor, "batch head query key"] | None:
        """The whole bias, in the dtype of the queries; batch and head may be 1."""
        if self.bias is None:
            return None
        if isinstance(self.bias, DenseBias) and self.chosen_rows is None:
            return self.bias.matrix.to(self.query.dtype)
        batch = torch.arange(self.query.shape[0], device=self.query.device)[:, None, None, None]
        head = self.heads[:, None, None]
        scores = self.bias.scores(batch, head, self.query_positions[:, None], self.key_positions)
        return scores[(None,) * (4 - scores.ndim)].to(self.query.dtype)

    def only(self, rows: Int[Tensor, " row"], heads: Int[Tensor, " asked"]) -> "Problem":
        """The same problem for some queries and some heads."""
        every = self.with_repeated_keys()
        return replace(
            every,
            query=every.query[:, heads][:, :, rows],
            key=every.key[:, heads],
            value=every.value[:, heads],
            chosen_rows=self.query_positions[rows],
            chosen_heads=self.heads[heads],
        )

    def allows_all(self) -> bool:
        """Whether the mask, if there is one, surely forbids nothing here."""
        if self.mask is None:
            return True
        if self.mask.by_batch or not self.query.shape[2] or not self.key.shape[2]:
            return False
        if isinstance(self.mask, Band):  # as below, in numbers: decoding asks this for every token
            latest, last = self.query_offset + self.query.shape[2] - 1, self.key.shape[2] - 1
            return latest <= self.mask.back and last - self.query_offset <= self.mask.ahead
        query = Spans.of(self.query.shape[2], self.query.shape[2], offset=self.query_offset)
        key = Spans.of(self.key.shape[2], self.key.shape[2])
        return bool(self.mask.blocks(query, key).every.all())

    def with_repeated_keys(self) -> "Problem":
        """The same problem with a key head for every query head."""
        if self.group == 1:
            return self
        pattern = "batch head key dim -> batch (head group) key dim"
        key = repeat(self.key, pattern, group=self.group)
        return replace(self, key=key, value=repeat(self.value, pattern, group=self.group))


def grouped(tensor: Tensor, group: int) -> Shaped[Tensor, "batch key_head group_query dim"]:
    """Queries of a group laid end to end, so that one product serves them all."""
    return rearrange(tensor, "batch (head group) query dim -> batch head (group query) dim", group=group)


def ungrouped(tensor: Tensor, group: int) -> Shaped[Tensor, "batch head query dim"]:
    """Back from `grouped`."""
    return rearrange(tensor, "batch head (group query) dim -> batch (head group) query dim", group=group)
