"""Who may look at whom: a mask is a claim about two positions, and claims combine with `&`, `|` and `~`.

`(band(128) | global_tokens(16)) & causal() & padding(valid)` reads as it is meant: True is *may attend*, as in
`F.scaled_dot_product_attention` (`nn.MultiheadAttention` says True for *must not*). Positions are absolute, so the
same mask serves a whole sequence, a chunk of it and a single new token: only the position of the first query,
`query_offset`, differs. A mask is asked for what a kernel needs: single pairs (`allows`), a whole matrix
(`dense`), which blocks hold anything at all (`blocks`), or how far anyone looks (`reach`). `allows` is also the
function that FlexAttention takes.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Index = Int[Tensor, "..."]
Allowed = Bool[Tensor, "..."]


@dataclass(frozen=True)
class Spans:
    """Neighbouring tokens in blocks: the position of the first and of the last one of each block."""

    first: Int[Tensor, "*block"]
    last: Int[Tensor, "*block"]

    @staticmethod
    def of(
        num_tokens: int, block_size: int, *, offset: int = 0, device: torch.device | None = None
    ) -> "Spans":
        """Blocks of `block_size` tokens, the last one perhaps shorter, counted from position `offset`."""
        first = torch.arange(0, num_tokens, block_size, device=device)
        last = (first + block_size - 1).clamp(max=num_tokens - 1)
        return Spans(first + offset, last + offset)


@dataclass(frozen=True)
class BlockMap:
    """What is known of a block of queries and a block of keys, for heads where they differ.

    Attributes:
        some: False where surely no pair of the block is allowed.
        every: True where surely all pairs are.
    """

    some: Bool[Tensor, "*head query_block key_block"]
    every: Bool[Tensor, "*head query_block key_block"]


@dataclass(frozen=True)
class Reach:
    """The most positions that any query may look back and ahead; infinite where there is no bound."""

    back: int | float = math.inf
    ahead: int | float = math.inf


class Mask(ABC):
    """A claim that a query at one position may attend to a key at another.

    Masks that are equal must claim the same: kernels remember by mask.
    """

    by_batch: bool = False  # whether examples differ
    by_head: bool = False  # whether heads differ
    by_distance: bool = False  # whether nothing but the distance of query and key counts
    is_lasting: bool = (
        True  # whether it stays as it is, so that kernels may remember what they worked out for it
    )

    @abstractmethod
    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether each pair may attend; indices broadcast against one another, the answer may leave axes at 1."""

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """What is known of every block without looking at single pairs; nothing, unless a mask says more."""
        shape = (len(query.first), len(key.first))
        unknown = torch.ones(shape, dtype=torch.bool, device=query.first.device)
        return BlockMap(some=unknown, every=~unknown)

    def reach(self) -> Reach:
        """How far anyone may look."""
        return Reach()

    def terms(self) -> tuple["Mask", ...]:
        """The masks that must all hold: itself, or the parts of an `&`."""
        return (self,)

    def __and__(self, other: "Mask") -> "Mask":
        return Both(self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return Either(self, other)

    def __invert__(self) -> "Mask":
        return Not(self)

    def dense(
        self,
        num_queries: int,
        num_keys: int,
        *,
        query_offset: int = 0,
        num_examples: int = 1,
        num_heads: int = 1,
        device: torch.device | None = None,
    ) -> Bool[Tensor, "batch head query key"]:
        """The whole matrix; batch and head are 1 where nothing differs between examples or heads."""
        batch = torch.arange(num_examples if self.by_batch else 1, device=device)[:, None, None, None]
        head = torch.arange(num_heads if self.by_head else 1, device=device)[:, None, None]
        query = torch.arange(query_offset, query_offset + num_queries, device=device)[:, None]
        key = torch.arange(num_keys, device=device)
        shape = (len(batch), len(head), num_queries, num_keys)
        return self.allows(batch, head, query, key).expand(shape)


@dataclass(frozen=True)
class Both(Mask):
    """Allowed by both."""

    left: Mask
    right: Mask

    def __post_init__(self) -> None:
        _inherit(self, self.left, self.right)

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether both allow it."""
        return self.left.allows(batch, head, query, key) & self.right.allows(batch, head, query, key)

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """Empty where either is."""
        left, right = self.left.blocks(query, key), self.right.blocks(query, key)
        return BlockMap(left.some & right.some, left.every & right.every)

    def reach(self) -> Reach:
        """The shorter one counts."""
        left, right = self.left.reach(), self.right.reach()
        return Reach(min(left.back, right.back), min(left.ahead, right.ahead))

    def terms(self) -> tuple[Mask, ...]:
        """The parts of both."""
        return self.left.terms() + self.right.terms()


@dataclass(frozen=True)
class Either(Mask):
    """Allowed by at least one."""

    left: Mask
    right: Mask

    def __post_init__(self) -> None:
        _inherit(self, self.left, self.right)

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether one allows it."""
        return self.left.allows(batch, head, query, key) | self.right.allows(batch, head, query, key)

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """Empty where both are."""
        left, right = self.left.blocks(query, key), self.right.blocks(query, key)
        return BlockMap(left.some | right.some, left.every | right.every)

    def reach(self) -> Reach:
        """The longer one counts."""
        left, right = self.left.reach(), self.right.reach()
        return Reach(max(left.back, right.back), max(left.ahead, right.ahead))


@dataclass(frozen=True)
class Not(Mask):
    """Allowed where the other mask forbids."""

    inner: Mask

    def __post_init__(self) -> None:
        _inherit(self, self.inner, self.inner)

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether the other forbids it."""
        return ~self.inner.allows(batch, head, query, key)

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """Empty where the other is full."""
        inner = self.inner.blocks(query, key)
        return BlockMap(some=~inner.every, every=~inner.some)


def _inherit(mask: Mask, left: Mask, right: Mask) -> None:
    """A combination differs between examples or heads where a part does; distance is all if it is for both."""
    object.__setattr__(mask, "by_batch", left.by_batch or right.by_batch)  # the dataclass is frozen
    object.__setattr__(mask, "by_head", left.by_head or right.by_head)
    object.__setattr__(mask, "by_distance", left.by_distance and right.by_distance)
    object.__setattr__(mask, "is_lasting", left.is_lasting and right.is_lasting)


@dataclass(frozen=True)
class Band(Mask):
    """Keys at most `back` positions before the query and at most `ahead` after it."""

    back: int | float
    ahead: int | float
    by_distance = True

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether the distance is within the band."""
        distance = query - key
        return (distance <= self.back) & (distance >= -self.ahead)

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """The nearest pair decides whether any is allowed, the farthest whether all are."""
        longest = query.last[:, None] - key.first
        shortest = query.first[:, None] - key.last
        return BlockMap(
            some=(shortest <= self.back) & (longest >= -self.ahead),
            every=(longest <= self.back) & (shortest >= -self.ahead),
        )

    def reach(self) -> Reach:
        """The band itself."""
        return Reach(self.back, self.ahead)


def causal() -> Mask:
    """Keys up to and including the query's own position: nobody sees the future."""
    return Band(math.inf, 0)


def band(radius: int) -> Mask:
    """Keys at most `radius` positions away on either side: `2 * radius + 1` of them, itself included.

    Raises:
        ValueError: If `radius` is negative.
    """
    return band_of(radius, radius)


def band_of(back: int, ahead: int) -> Mask:
    """Keys at most `back` positions before the query and `ahead` after it.

    Raises:
        ValueError: If one of them is negative.
    """
    if back < 0 or ahead < 0:
        raise ValueError(f"A band must reach 0 or more positions to each side, but got {back=}, {ahead=}.")
    return Band(back, ahead)


@dataclass(frozen=True)
class GlobalTokens(Mask):
    """The first `count` tokens see all and are seen by all."""

    count: int

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether one of the two is global."""
        return (query < self.count) | (key < self.count)

    def blocks(self, query: Spans, key: Spans) -> BlockMap:
        """The first token of a block decides for some, the last for every."""
        return BlockMap(
            some=(query.first[:, None] < self.count) | (key.first < self.count),
            every=(query.last[:, None] < self.count) | (key.last < self.count),
        )


def global_tokens(count: int) -> Mask:
    """The first `count` tokens see all and are seen by all, as a class token or a question.

    Raises:
        ValueError: If `count` is negative.
    """
    if count < 0:
        raise ValueError(f"count of global tokens must be 0 or more, but got {count}.")
    return GlobalTokens(count)


@dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Keys that are real tokens, in each example."""

    valid: Bool[Tensor, "batch key"]
    by_batch = True

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """Whether the key is real; whoever asks must not ask beyond the last key."""
        return self.valid[batch, key]


def padding(valid: Bool[Tensor, "batch key"]) -> Mask:
    """Nobody looks at padding: `valid` is True where a token is real.

    Only keys are masked. Padded queries still get an answer, which nobody reads, instead of an empty row.

    Raises:
        TypeError: If `valid` is not boolean.
        ValueError: If it has not two axes.
    """
    _check_boolean("valid", valid)
    if valid.ndim != 2:
        raise ValueError(f"valid must be (batch, key), but got {tuple(valid.shape)}.")
    return Padding(valid)


def terms_of(mask: Mask | None) -> tuple[Mask, ...]:
    """The masks that must all hold."""
    return () if mask is None else mask.terms()


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """What both allow, where either may be missing."""
    return second if first is None else first if second is None else first & second


def is_causal(mask: Mask | None) -> bool:
    """Whether one of the masks that must all hold is `causal()`."""
    return any(
        isinstance(term, Band) and math.isinf(term.back) and term.ahead == 0 for term in terms_of(mask)
    )


def valid_tokens(mask: Mask | None, key: Tensor) -> Bool[Tensor, "batch key"] | None:
    """Which keys somebody may look at, by all `padding` and matrices that the mask holds; None if it holds none.

    Raises:
        ValueError: If a padding is not for as many examples and keys as there are.
    """
    found, expected = None, (key.shape[0], key.shape[2])
    for term in terms_of(mask):
        if isinstance(term, Padding):
            seen = term.valid
            if seen.shape != expected:
                raise ValueError(f"valid must be (batch, key) = {expected}, but got {tuple(seen.shape)}.")
        elif isinstance(term, DenseMask):
            seen = term.matrix.any(dim=(1, 2)).expand(expected)
        else:
            continue
        found = seen if found is None else found & seen
    return found


def wiped(key: Tensor, value: Tensor, valid: Bool[Tensor, "batch key"] | None) -> tuple[Tensor, Tensor]:
    """Keys and values with zeros where no token is real: zero times a NaN there would still be NaN."""
    if valid is None:
        return key, value
    padded = ~valid[:, None, :, None]
    return key.masked_fill(padded, 0), value.masked_fill(padded, 0)


class DenseMask(Mask):
    """Any matrix of allowed pairs."""

    is_lasting = False  # whoever made the matrix may write to it

    def __init__(self, matrix: Bool[Tensor, "batch head query key"], query_offset: int = 0) -> None:
        """`matrix` may have one example or one head for all; its first row is the query at `query_offset`."""
        self.matrix = matrix
        self.query_offset = query_offset
        self.by_batch = len(matrix) > 1
        self.by_head = matrix.shape[1] > 1

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Allowed:
        """What the matrix says."""
        batch = batch if self.by_batch else torch.zeros_like(batch)
        head = head if self.by_head else torch.zeros_like(head)
        return self.matrix[batch, head, query - self.query_offset, key]


def as_mask(mask: "Mask | Tensor | None", query_offset: int = 0) -> Mask | None:
    """A mask from a mask or from a boolean tensor, (query, key) or (batch, head, query, key); None stays None.

    Raises:
        TypeError: If a tensor is not boolean: a float mask is a bias, and adding it is another thing.
        ValueError: If it has another number of axes.
    """
    if mask is None or isinstance(mask, Mask):
        return mask
    _check_boolean("mask", mask)
    if mask.ndim not in (2, 4):
        raise ValueError(
            f"mask must be (query, key) or (batch, head, query, key), but got {tuple(mask.shape)}; for one row "
            "per example use padding(valid)."
        )
    return DenseMask(mask if mask.ndim == 4 else mask[None, None], query_offset)


def _check_boolean(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor) or tensor.dtype != torch.bool:
        came = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(
            f"{name} must be a boolean tensor, True where attention is allowed, but got {came}; a matrix of "
            "numbers to add to the scores goes into bias, and 0/1 numbers become a mask by .bool()."
        )
