"""Attend to what is near and to every so-many-th token: with a stride of sqrt(N), any two tokens are two steps apart.

`child2019generating`, section 4.3, in both factorizations: "strided" for data in rows, such as images, where the
tokens a stride apart lie above one another; "fixed" for text, where the last tokens of each segment sum it up for all.
Differs: one softmax over both parts (the "merged" heads of equation 8), and the future is hidden by a causal mask only.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from archaeology.attention.masks import Allowed, BlockMap, Index, Mask, Spans, band
from archaeology.attention.mechanism import Facts, LayerShape, mechanisms
from archaeology.attention.softmax import Softmax


@dataclass(frozen=True)
class EveryNth(Mask):
    """Keys a multiple of `stride` positions away."""

    stride: int
    by_distance = True

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether the stride divides the distance."""
        return (query - key) % self.stride == 0

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """Some if a multiple of the stride lies between the shortest and the longest distance."""
        longest = query.last[:, None] - key.first
        shortest = query.first[:, None] - key.last
        multiple = longest.div(self.stride, rounding_mode="floor") * self.stride  # the largest one
        some = multiple >= shortest
        return BlockMap(some, some & ((longest == shortest) | (self.stride == 1)))


@dataclass(frozen=True)
class Segments(Mask):
    """Keys in the query's own segment of `stride` tokens, and the last `summary` tokens of every segment."""

    stride: int
    summary: int

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether the segments are one, or the key sums its segment up."""
        return (query // self.stride == key // self.stride) | (
            key % self.stride >= self.stride - self.summary
        )

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """The segments and places of first and last tokens decide."""
        stride, start = self.stride, self.stride - self.summary
        first, last = key.first // stride, key.last // stride
        one_segment = first == last
        ends = (key.last % stride >= start) & (self.summary > 0)
        some_summary = ends | (~one_segment & (self.summary > 0))
        all_summary = (one_segment & (key.first % stride >= start)) | (self.summary == stride)
        query_first, query_last = query.first[:, None] // stride, query.last[:, None] // stride
        own = (query_first <= last) & (first <= query_last)
        all_own = one_segment & (query_first == first) & (query_last == first)
        return BlockMap(own | some_summary, all_own | all_summary)


def strided(stride: int) -> Mask:
    """Keys at most `stride` positions away on either side, and those a multiple of `stride` away.

    Raises:
        ValueError: If `stride` is less than 1.
    """
    _check_stride(stride)
    return band(stride) | EveryNth(stride)


def fixed(stride: int, summary: int) -> Mask:
    """Keys in the same segment of `stride` tokens, and the last `summary` tokens of every segment.

    Raises:
        ValueError: If `stride` is less than 1, or `summary` not between 0 and `stride`.
    """
    _check_stride(stride)
    if not 0 <= summary <= stride:
        raise ValueError(f"summary must be from 0 to the stride, but got {summary=}, {stride=}.")
    return Segments(stride, summary)


def _check_stride(stride: int) -> None:
    if stride < 1:
        raise ValueError(f"stride must be 1 or more, but got {stride}.")


def near_root(num_tokens: int | None) -> int:
    """The stride for a length: its square root, up to a multiple of 16, so that blocks of keys fit; 64 if unknown."""
    return 64 if num_tokens is None else 16 * math.ceil(math.sqrt(num_tokens) / 16)


@mechanisms.register("strided")
class Strided(Softmax):
    """Exact attention to the neighbours and to every `stride`-th token."""

    supports = Softmax.supports - {"cross"}
    facts = Facts(
        title="Sparse Transformer, strided",
        formula="softmax(QK^T / sqrt(d) where |i - j| <= s or s divides i - j) V",
        time="N (s + N / s) d",
        memory="N (s + N / s)",
        relation="sparse",
        source="child2019generating",
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Strided":
        """On a grid, tokens a stride apart lie above one another; in a sequence the stride is near the square root."""
        stride = near_root(shape.num_tokens) if shape.grid is None else shape.grid[1]
        return cls(**{"stride": stride, **options})

    def __init__(
        self, *, stride: int = 64, scale: float | None = None, dropout: float = 0.0, kernel: str = "auto"
    ) -> None:
        """`stride` is best near the square root of the length, or the width of an image in tokens.

        Raises:
            ValueError: If `stride` is less than 1.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        self.near_and_far = strided(stride)

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """The same claim at any length."""
        return self.near_and_far


@mechanisms.register("fixed")
class Fixed(Softmax):
    """Exact attention to the own segment and to the tokens that sum up the others."""

    supports = Softmax.supports - {"cross"}
    facts = Facts(
        title="Sparse Transformer, fixed",
        formula="softmax(QK^T / sqrt(d) where j is in the segment of i, or among the last c of its own) V",
        time="N (s + c N / s) d",
        memory="N (s + c N / s)",
        relation="sparse",
        source="child2019generating",
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Fixed":
        """Segments near the square root of the length, of which there are then as many as each has tokens."""
        return cls(**{"stride": near_root(shape.num_tokens), **options})

    def __init__(
        self,
        *,
        stride: int = 64,
        summary: int = 8,
        scale: float | None = None,
        dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        """`stride` tokens make a segment, the last `summary` of them are seen by all.

        Raises:
            ValueError: If `stride` is less than 1, or `summary` not between 0 and `stride`.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        self.segments = fixed(stride, summary)

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """The same claim at any length."""
        return self.segments
