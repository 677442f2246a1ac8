"""Which pairs of a layout are allowed, as the numbers that are added to scores: 0 where they are, else minus infinity.

A mask is asked only for the pairs that are looked at. Terms that depend on distance are asked for one block where
all blocks look alike, padding for keys only, and both cost next to nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.attention.kernels.by_head import Addend, Empty, without_empty_rows
from archaeology.attention.kernels.layout import Layout, Sliding
from archaeology.attention.kernels.problem import Problem
from archaeology.attention.masks import Mask, Padding, terms_of

Answer = tuple[Addend | None, Empty | None]


class Sight:
    """What every example and head may see, in the terms of `attend_by_head`."""

    def __init__(
        self, problem: Problem, layouts: Sequence[Layout], steady: "Sequence[Steady] | None" = None
    ) -> None:
        """`steady` is the part that all examples share, if it is known already."""
        self.problem, self.layouts = problem, layouts
        self.steady = steady_of(problem, layouts) if steady is None else steady
        self.changing = [term for term in terms_of(problem.mask) if term.by_batch]
        self.last: tuple[tuple[int, int], Answer] | None = None

    def __call__(self, example: int, head: int) -> Answer:
        """The numbers to add, and the queries that see nothing."""
        steady = self.steady[head % len(self.steady)]
        if not self.changing:
            return steady.addend, steady.empty
        by_head = len(self.steady) > 1 or any(term.by_head for term in self.changing)
        asked = (example, head if by_head else 0)
        if self.last is None or self.last[0] != asked:
            self.last = asked, self._now(steady, *asked)
        return self.last[1]

    def _now(self, steady: "Steady", example: int, head: int) -> Answer:
        layout = self.layouts[head % len(self.layouts)]
        batch, number = (torch.tensor([value], device=layout.keys.device) for value in (example, head))
        addend = steady.masked
        for term in self.changing:
            keys = layout.keys.clamp(0, self.problem.key.shape[2] - 1)
            if isinstance(term, Padding):
                allowed = term.valid[example][keys][:, None]
            else:
                queries = layout.queries.clamp(max=self._last_query)
                allowed = term.allows(batch, number, queries[:, :, None], keys[:, None])
            addend = torch.where(allowed, 0 if addend is None else addend, -math.inf)
        assert addend is not None
        addend = addend.to(self.problem.query.dtype).expand(len(layout.keys), -1, layout.keys.shape[1])
        repaired = Steady.of(addend)
        return repaired.addend, repaired.empty

    @property
    def _last_query(self) -> int:
        return self.problem.query_offset + self.problem.query.shape[2] - 1


@dataclass(frozen=True, eq=False)
class Steady:
    """Numbers to add to the scores.

    Attributes:
        masked: 0 or minus infinity; None if all pairs are allowed.
        addend: The same, but 0 throughout where a query sees nothing, so that its softmax is a number.
        empty: Those queries; None if there are none.
    """

    masked: Float[Tensor, "block row seen"] | None
    addend: Float[Tensor, "block row seen"] | None
    empty: Bool[Tensor, "block row"] | None

    @staticmethod
    def of(masked: Float[Tensor, "block row seen"]) -> "Steady":
        """Find the queries that see nothing."""
        return Steady(masked, *without_empty_rows(masked))


def steady_of(problem: Problem, layouts: Sequence[Layout], *, is_whole: bool = False) -> list[Steady]:
    """What is the same for all examples; one for all heads, or one for each.

    Where `is_whole`, the mask allows all pairs of keys in the sequence, and need not be asked.
    """
    terms = () if is_whole else tuple(term for term in terms_of(problem.mask) if not term.by_batch)
    by_head = len(layouts) > 1 or any(term.by_head for term in terms)
    heads = range(problem.query.shape[1] if by_head else 1)
    lasts = isinstance(layouts[0], Sliding) and all(term.is_lasting for term in terms)
    find = _steady if lasts else _steady.__wrapped__
    sizes = problem.key.shape[2], problem.query_offset + problem.query.shape[2] - 1
    return [find(layouts[head % len(layouts)], terms, head, *sizes, problem.query.dtype) for head in heads]


@lru_cache(maxsize=8)
def _steady(
    layout: Layout, terms: tuple[Mask, ...], head: int, num_keys: int, last_query: int, dtype: torch.dtype
) -> Steady:
    """Everything that holds for one head, whatever the example."""
    device = layout.keys.device
    zero = torch.zeros((), dtype=dtype, device=device)
    first, number = torch.zeros(1, dtype=torch.long, device=device), torch.tensor([head], device=device)
    outside = (layout.keys < 0) | (layout.keys >= num_keys)
    masked = None if not bool(outside.any()) else torch.where(outside[:, None], -math.inf, zero)
    for term in terms:
        if term.by_distance and layout.is_uniform:
            allowed = term.allows(first, number, layout.queries[:1, :, None], layout.keys[:1, None])
        else:
            queries, keys = layout.queries.clamp(max=last_query), layout.keys.clamp(0, num_keys - 1)
            allowed = term.allows(first, number, queries[:, :, None], keys[:, None])
        one = torch.where(allowed, zero, -math.inf)  # small where it depends on distance only
        masked = one if masked is None else masked + one
    if masked is None:
        return Steady(None, None, None)
    return Steady.of(masked.expand(len(layout.keys), -1, layout.keys.shape[1]))


def bias_of(problem: Problem, layout: Layout) -> Float[Tensor, "batch head block slot seen"] | None:
    """The bias at the pairs that are looked at; axes along which nothing changes may be 1."""
    if problem.bias is None:
        return None
    batch = torch.arange(problem.query.shape[0], device=layout.keys.device)[:, None, None, None, None]
    last_query = problem.query_offset + problem.query.shape[2] - 1
    if layout.is_uniform and getattr(problem.bias, "by_distance", False):
        queries, keys = layout.queries[:1], layout.keys[:1]
    else:
        queries = layout.queries.clamp(max=last_query)
        keys = layout.keys.clamp(0, problem.key.shape[2] - 1)
    scores = problem.bias.scores(
        batch, problem.heads[:, None, None, None], queries[:, :, None], keys[:, None]
    )
    return scores[(None,) * (5 - scores.ndim)].to(problem.query.dtype)
