"""Sparse attention by gathering: a block of neighbouring queries looks only at pieces of keys that it may see.

`zaheer2020big` gathers blocks of a fixed pattern; here the mask itself says, block by block, where there is nothing
to see. Blocks of queries that see nearly everything, as global tokens do, are kept apart, so that the lists of the
others stay short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attention.kernels.by_head import attend_by_head
from archaeology.attention.kernels.layout import Gathered
from archaeology.attention.kernels.problem import Problem
from archaeology.attention.kernels.registry import kernels
from archaeology.attention.kernels.visible import Sight, Steady, bias_of, steady_of
from archaeology.attention.masks import Mask, Spans, both, terms_of

# Queries in a block, and what a score costs then: small products are slower.
BLOCKS = {16: 1.5, 32: 1.2, 64: 1.0}
PIECE = 16  # keys in a piece: fewer list less that is masked again, more are copied faster


@kernels.register("blocks")
def blocks(problem: Problem) -> Float[Tensor, "batch head query value_dim"]:
    """Each group of query blocks with the keys that they may see, then all in order again."""
    plan = plan_for(problem)
    length = problem.query.shape[2]
    query = F.pad(problem.query, (0, 0, 0, -length % plan.block)).unflatten(2, (-1, plan.block))
    answers = [
        attend_by_head(
            query.index_select(2, group.numbers),
            problem.key,
            problem.value,
            layouts=group.layouts,
            visible=Sight(problem, group.layouts, group.steady(problem)),
            bias=_bias(problem, group.layouts),
            scale=problem.scale,
            dropout=problem.dropout,
        )
        for group in plan.groups
    ]
    return torch.cat(answers, dim=2).index_select(2, plan.order).flatten(2, 3)[:, :, :length]


class Group:
    """Blocks of queries whose lists are about equally long.

    Attributes:
        numbers: Which blocks.
        layouts: What they look at; one for all heads, or one for each.
        is_whole: Whether all that is listed is allowed, so that no pair need be asked for.
    """

    def __init__(self, numbers: Int[Tensor, " block"], layouts: list[Gathered], is_whole: bool) -> None:
        self.numbers, self.layouts, self.is_whole = numbers, layouts, is_whole
        self._steady: dict[torch.dtype, list[Steady]] = {}

    @property
    def pairs(self) -> int:
        """Scores that are computed for a head."""
        return len(self.numbers) * self.layouts[0].queries.shape[1] * self.layouts[0].keys.shape[1]

    def steady(self, problem: Problem) -> list[Steady]:
        """What the mask says of the listed pairs, asked once."""
        dtype = problem.query.dtype
        if dtype not in self._steady:
            self._steady[dtype] = steady_of(problem, self.layouts, is_whole=self.is_whole)
        return self._steady[dtype]


@dataclass(frozen=True, eq=False)
class Plan:
    """How a mask is computed at given lengths.

    Attributes:
        block: Queries in a block.
        groups: The blocks, by the length of their lists.
        order: Where each block is found when the groups are laid end to end.
    """

    block: int
    groups: tuple[Group, ...]
    order: Int[Tensor, " block"]

    @property
    def cost(self) -> float:
        """Scores that are computed for a head, those in small blocks counted as dearer."""
        return BLOCKS[self.block] * sum(group.pairs for group in self.groups)


def plan_for(problem: Problem) -> Plan:
    """The plan of a problem's mask with the cheapest size of blocks; that of the last few masks is remembered."""
    mask = None
    for term in terms_of(problem.mask):
        if not term.by_batch:
            mask = both(mask, term)
    find = _plan if mask is None or mask.is_lasting else _plan.__wrapped__
    return find(
        mask, problem.query.shape[1:3], problem.key.shape[2], problem.query_offset, problem.query.device
    )


@lru_cache(maxsize=8)
def _plan(
    mask: Mask | None, queries: tuple[int, int], num_keys: int, offset: int, device: torch.device
) -> Plan:
    plans = [_plan_with(block, mask, queries[1], num_keys, offset, device) for block in BLOCKS]
    return min(plans, key=lambda plan: plan.cost)


def _plan_with(
    block: int, mask: Mask | None, num_queries: int, num_keys: int, offset: int, device: torch.device
) -> Plan:
    query = Spans.of(num_queries, block, offset=offset, device=device)
    key = Spans.of(num_keys, PIECE, device=device)
    if mask is None:
        some = every = torch.ones(1, len(query.first), len(key.first), dtype=torch.bool, device=device)
    else:
        known = mask.blocks(query, key)
        some, every = (part if part.ndim == 3 else part[None] for part in (known.some, known.every))
    groups = []
    for numbers in _parted(some.sum(-1).amax(0)):
        listed = some[:, numbers]
        queries = query.first[numbers, None] + torch.arange(block, device=device)
        layouts = [Gathered(queries, table, PIECE) for table in _tables(listed)]
        groups.append(Group(numbers, layouts, is_whole=bool((every[:, numbers] | ~listed).all())))
    order = torch.cat([group.numbers for group in groups]).argsort()
    return Plan(block, tuple(groups), order)


def _parted(lengths: Int[Tensor, " block"]) -> list[Int[Tensor, " some_blocks"]]:
    """Blocks with long lists and blocks with short ones, parted where filling up the shorter lists costs least."""
    order = lengths.argsort(descending=True, stable=True)
    longest = lengths[order]
    count = torch.arange(len(order), device=lengths.device)
    at = int((count * longest[0] + (len(order) - count) * longest).argmin())
    return [part.sort().values for part in (order[:at], order[at:]) if len(part)]


def _tables(some: Bool[Tensor, "head block piece"]) -> Int[Tensor, "head block listed"]:
    """The numbers of the pieces that hold something, in order; -1 where there are no more."""
    longest = max(1, int(some.sum(-1).max()))
    found, order = some.int().sort(dim=-1, descending=True, stable=True)
    return torch.where(found.bool(), order, -1)[..., :longest]


def _bias(
    problem: Problem, layouts: Sequence[Gathered]
) -> Float[Tensor, "batch head block slot seen"] | None:
    """The bias of every head at its own list."""
    parts = [bias_of(problem, layout) for layout in layouts]
    if len(parts) == 1 or parts[0] is None:
        return parts[0]
    heads = len(layouts)
    found = [part[:, head % part.shape[1]] for head, part in enumerate(parts) if part is not None]
    assert len(found) == heads
    return torch.stack(found, dim=1)
