"""One contract for every mechanism: queries, keys and values go in, one answer for each query comes out.

Whatever a mechanism does inside, its answer is linear in the values. So feeding it the identity as values gives the
matrix that it implies (`pattern`), and one function draws softmax attention, hashing and random features alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from archaeology.attention.biases import Bias, as_bias
from archaeology.attention.masks import Mask, Padding, as_mask, is_causal, terms_of
from archaeology.core.registry import Registry

Ability = Literal["causal", "padding", "mask", "bias", "cross", "grouped", "cache"]
SLAB = 64  # columns of the identity that are fed as values at a time


@dataclass(frozen=True)
class Facts:
    """What the table of the zoo says of a mechanism.

    Attributes:
        title: Its name in prose.
        formula: In plain text; Q, K, V, N tokens, d features of a head.
        time: Operations of one head, as a function of N and d.
        memory: Numbers kept at once, likewise.
        relation: To softmax attention over all tokens: the same ("exact"), exact over fewer keys ("sparse"), an
            estimate of it ("approximate"), or weights of another kind ("other").
        source: Key in the bibliography.
        rows_sum_to_one: Whether every row of the pattern does (or is zero where nothing may be attended).
    """

    title: str
    formula: str
    time: str
    memory: str
    relation: Literal["exact", "sparse", "approximate", "other"]
    source: str
    rows_sum_to_one: bool = True


@dataclass(frozen=True)
class LayerShape:
    """What a layer knows when it builds a mechanism by name.

    Attributes:
        num_heads: Heads of the queries.
        head_dim: Features of a head.
        num_tokens: Length of the sequences, where it is fixed.
        grid: Rows and columns, where tokens are patches.
        num_prefix: Tokens before the grid: class token, registers.
    """

    num_heads: int
    head_dim: int
    num_tokens: int | None = None
    grid: tuple[int, int] | None = None
    num_prefix: int = 0


class Mechanism(nn.Module, ABC):
    """A way to attend.

    A subclass says what it can do (`supports`), what it is (`facts`) and how it computes (`mix`); it is registered
    under a name. Of these, `supports` holds those that it can: "causal" (nobody sees the future), "padding" (keys
    masked per example), "mask" (any other), "bias" (numbers added to the scores), "cross" (other keys than
    queries), "grouped" (fewer key heads), "cache" (queries that go on after earlier keys). In evaluation, the same
    input gives the same answer: random features and the like are buffers.
    """

    supports: ClassVar[frozenset[Ability]]
    facts: ClassVar[Facts]
    shares_query_and_key: ClassVar[bool] = False  # whether queries must serve as keys too

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Mechanism":
        """For a layer of this shape; a subclass that needs to know the shape takes it from here."""
        return cls(**options)

    def forward(
        self,
        query: Float[Tensor, "batch head query dim"],
        key: Float[Tensor, "batch key_head key dim"],
        value: Float[Tensor, "batch key_head key value_dim"],
        *,
        mask: Mask | Tensor | None = None,
        bias: Bias | Tensor | None = None,
        query_offset: int = 0,
    ) -> Float[Tensor, "batch head query value_dim"]:
        """The answer for every query; arguments as in `attend`.

        Raises:
            ValueError: If the mechanism does not support what is asked, or shapes do not fit.
        """
        if has_torch_function((query, key, value)):  # so that a capture sees the mechanism, not its parts
            given = {"mask": mask, "bias": bias, "query_offset": query_offset}
            return handle_torch_function(
                Mechanism.forward, (query, key, value), self, query, key, value, **given
            )
        check_shapes(query, key, value)
        mask, bias = as_mask(mask, query_offset), as_bias(bias, query_offset)
        self.check(query, key, mask, bias, query_offset)
        if not query.shape[2] or not key.shape[2]:
            return query.new_zeros(*query.shape[:3], value.shape[3]) + 0 * (query.sum() + value.sum())
        return self.mix(query, key, value, mask=mask, bias=bias, query_offset=query_offset)

    @abstractmethod
    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
    ) -> Tensor:
        """The answer, with arguments that `forward` has checked."""

    def structure(self, num_tokens: int, device: torch.device) -> Mask | None:
        """The mask that the mechanism itself brings for sequences of `num_tokens`, where it is one."""
        return None

    def exact(
        self,
        query: Float[Tensor, "batch head query dim"],
        key: Float[Tensor, "batch head key dim"],
        value: Float[Tensor, "batch head key value_dim"],
    ) -> Float[Tensor, "batch head query value_dim"]:
        """What it estimates, or gives a part of: softmax attention of every token to every token."""
        return F.scaled_dot_product_attention(query, key, value)

    def check(
        self, query: Tensor, key: Tensor, mask: Mask | None, bias: Bias | None, query_offset: int
    ) -> None:
        """Raise unless the mechanism supports what it is asked for."""
        self.require(
            {
                "bias": bias is not None,
                "cross": query.shape[2] + query_offset != key.shape[2],
                "grouped": query.shape[1] != key.shape[1],
                "cache": query_offset > 0,
            }
        )
        for term in terms_of(mask):
            self.require({ability_for(term): True})

    def require(self, asked: Mapping[Ability, bool]) -> None:
        """Raise if something is asked for that the mechanism cannot do.

        Raises:
            ValueError: Naming the mechanism, what was asked, and what it can do.
        """
        lacking = [ability for ability, needed in asked.items() if needed and ability not in self.supports]
        if lacking:
            raise ValueError(
                f"{self.facts.title} supports {', '.join(sorted(self.supports)) or 'plain sequences only'}, but was "
                f"asked for {', '.join(lacking)}; use another mechanism, for example 'softmax'."
            )

    def pattern(
        self,
        query: Float[Tensor, "batch head query dim"],
        key: Float[Tensor, "batch key_head key dim"],
        *,
        mask: Mask | Tensor | None = None,
        bias: Bias | Tensor | None = None,
        query_offset: int = 0,
        rows: Int[Tensor, " row"] | None = None,
        heads: Int[Tensor, " asked"] | None = None,
    ) -> Float[Tensor, "batch asked row key"]:
        """The matrix that the mechanism implies: its answer is this times the values.

        Args:
            query: As in `forward`, likewise `key`, `mask`, `bias` and `query_offset`.
            key: What is looked at.
            mask: Who may look at whom.
            bias: Numbers added to the scores.
            query_offset: Absolute position of the first query.
            rows: Which queries, by index; all if None.
            heads: Which heads, by index; all if None.

        Raises:
            ValueError: As `forward`.
        """
        device = query.device
        rows = torch.arange(query.shape[2], device=device) if rows is None else rows.to(device)
        heads = torch.arange(query.shape[1], device=device) if heads is None else heads.to(device)
        mask, bias = as_mask(mask, query_offset), as_bias(bias, query_offset)
        self.check(query, key, mask, bias, query_offset)
        return self.rows_of_pattern(
            query, key, mask=mask, bias=bias, query_offset=query_offset, rows=rows, heads=heads
        )

    def rows_of_pattern(
        self,
        query: Tensor,
        key: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
        rows: Int[Tensor, " row"],
        heads: Int[Tensor, " asked"],
    ) -> Tensor:
        """Feed the identity as values, some columns at a time; a mechanism with a shorter way overrides this."""
        batch, key_heads, num_keys, _ = key.shape
        was_training = self.training
        self.eval()
        try:
            slabs = []
            for first in range(0, num_keys, SLAB):
                width = min(SLAB, num_keys - first)
                identity = torch.zeros(num_keys, width, dtype=key.dtype, device=key.device)
                identity[first : first + width] = torch.eye(width, dtype=key.dtype, device=key.device)
                identity = identity.expand(batch, key_heads, num_keys, width)
                answer = self.mix(query, key, identity, mask=mask, bias=bias, query_offset=query_offset)
                slabs.append(answer[:, heads][:, :, rows])
            return torch.cat(slabs, dim=-1) if slabs else query.new_zeros(batch, len(heads), len(rows), 0)
        finally:
            self.train(was_training)


mechanisms: Registry[type[Mechanism]] = Registry("attention mechanism")


def ability_for(term: Mask) -> Ability:
    """What a mechanism must support to take one term of a mask."""
    return "padding" if isinstance(term, Padding) else "causal" if is_causal(term) else "mask"


def check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise unless the three are (batch, head, token, dim) and fit one another.

    Raises:
        ValueError: If they do not.
        TypeError: If their dtypes differ.
    """
    shapes = [tuple(tensor.shape) for tensor in (query, key, value)]
    came = "but got query {}, key {}, value {}.".format(*shapes)
    if any(len(shape) != 4 for shape in shapes):
        raise ValueError(f"query, key and value must be (batch, head, token, dim), {came}")
    if shapes[1][:3] != shapes[2][:3]:
        raise ValueError(f"key and value must have the same batch, heads and tokens, {came}")
    if shapes[0][0] != shapes[1][0] or shapes[0][3] != shapes[1][3]:
        raise ValueError(f"query and key must have the same batch and dim, {came}")
    if not shapes[1][1] or shapes[0][1] % shapes[1][1]:
        raise ValueError(f"the heads of the keys must divide those of the queries, {came}")
    if query.dtype != key.dtype or key.dtype != value.dtype:
        raise TypeError(
            f"query, key and value must have one dtype, but got {query.dtype}, {key.dtype}, {value.dtype}."
        )
