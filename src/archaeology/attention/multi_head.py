"""Several small attentions side by side: each head has its own idea of what is worth looking at.

`vaswani2017attention`, section 3.2.2; keys shared by groups of heads are `ainslie2023gqa`. The layer owns projections,
positions and cache; how a head attends is a mechanism, taken by name.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.attention.biases import Bias
from archaeology.attention.cache import Cache, KeyValueCache, SlidingCache, check_reach, new_cache
from archaeology.attention.masks import Mask, as_mask, both, terms_of
from archaeology.attention.mechanism import LayerShape, Mechanism, ability_for, mechanisms
from archaeology.attention.position_scheme import inside_positions
from archaeology.attention.rotary import Rotation

Heads = Float[Tensor, "batch head token dim"]
KeyHeads = Float[Tensor, "batch key_head key dim"]


class MultiHeadAttention(nn.Module):
    """Project to queries, keys and values, attend in every head, project back.

    Self-attention, or cross-attention to a context of its own width. Without options it is what
    `nn.MultiheadAttention` computes.

    Attributes:
        is_cross: Whether it looks at a context, which may have as many tokens as there are queries.
    """

    positions: Rotation | Bias | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_key_heads: int | None = None,
        context_dim: int | None = None,
        mechanism: str = "softmax",
        options: Mapping[str, Any] | None = None,
        mask: Mask | None = None,
        positions: str | Rotation | Bias | None = None,
        num_tokens: int | None = None,
        grid: tuple[int, int] | None = None,
        num_prefix: int = 0,
        qkv_bias: bool = True,
    ) -> None:
        """Build with fresh weights.

        Args:
            embed_dim: Features of a token, shared out evenly over the heads.
            num_heads: Heads of the queries.
            num_key_heads: Heads of keys and values, each shared by a group of query heads; as many if None.
            context_dim: Features of a context token, for cross-attention; None for self-attention.
            mechanism: A registered mechanism.
            options: What to build it with.
            mask: Who may look at whom in every pass, beside what a pass is given.
            positions: Turns queries and keys ("rotary") or adds to their scores ("alibi", "relative_bias"): one of
                these names, for the grid where there is one, or an object such as `Rotary(head_dim)`.
            num_tokens: Length of the sequences, for mechanisms that depend on it.
            grid: Rows and columns of the patches, likewise.
            num_prefix: Tokens before the grid, likewise.
            qkv_bias: Whether queries, keys and values have a bias.

        Raises:
            ValueError: If sizes do not fit, or the mechanism does not support what is asked for.
        """
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        num_key_heads = num_heads if num_key_heads is None else num_key_heads
        if num_key_heads < 1 or num_heads % num_key_heads:
            raise ValueError(f"num_key_heads must divide num_heads, but got {num_heads=}, {num_key_heads=}.")
        self.num_heads, self.num_key_heads, self.head_dim = num_heads, num_key_heads, embed_dim // num_heads
        shape = LayerShape(num_heads, self.head_dim, num_tokens, grid, num_prefix)
        self.mask = mask
        self.positions = inside_positions(positions, shape) if isinstance(positions, str) else positions
        self.has_bias = isinstance(self.positions, Bias)
        self.has_rotation = isinstance(self.positions, Rotation)
        self.mechanism = build_mechanism(mechanism, shape, options or {})
        self.is_cross = context_dim is not None
        self._check_support(self.is_cross)
        shared = self.mechanism.shares_query_and_key
        self.parts = (num_heads, *((num_key_heads,) * (1 if shared else 2)))
        if context_dim is None:
            self.qkv = nn.Linear(embed_dim, sum(self.parts) * self.head_dim, bias=qkv_bias)
        else:
            self.q = nn.Linear(embed_dim, embed_dim, bias=qkv_bias)
            self.kv = nn.Linear(context_dim, 2 * num_key_heads * self.head_dim, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def _check_support(self, is_cross: bool) -> None:
        """Raise now, not in the first pass, if the mechanism cannot do what the layer is built for."""
        is_grouped = self.num_key_heads != self.num_heads
        self.mechanism.require({"grouped": is_grouped, "cross": is_cross, "bias": self.has_bias})
        for term in terms_of(self.mask):
            self.mechanism.require({ability_for(term): True})
        if is_cross and self.positions is not None:
            raise ValueError(
                "positions belong to self-attention, but context_dim was given too; leave one out."
            )

    def forward(
        self,
        tokens: Float[Tensor, "batch token embed"],
        context: Float[Tensor, "batch key context"] | None = None,
        *,
        mask: Mask | Tensor | None = None,
        cache: Cache | None = None,
        places: Float[Tensor, "*batch token embed"] | None = None,
    ) -> Float[Tensor, "batch token embed"]:
        """Every token gathers from all tokens, or from the context.

        Args:
            tokens: What looks.
            context: What is looked at, in cross-attention.
            mask: Who may look at whom in this pass, for example `padding(valid)`.
            cache: Keys and values of earlier tokens; takes up the new ones.
            places: Position features, added to what queries and keys are made of and not to the values
                (`carion2020end`): they say where to look, and do not get into the answer.

        Raises:
            ValueError: If a context is missing or not expected, or the mechanism lacks what is asked for.
        """
        query, key, value, given = self._prepare(tokens, context, mask, cache, places)
        answer = self.mechanism(query, key, value, **given)
        return self.proj(rearrange(answer, "batch head token dim -> batch token (head dim)"))

    def pattern(
        self,
        tokens: Float[Tensor, "batch token embed"],
        context: Float[Tensor, "batch key context"] | None = None,
        *,
        mask: Mask | Tensor | None = None,
        places: Float[Tensor, "*batch token embed"] | None = None,
        rows: Int[Tensor, " row"] | None = None,
        heads: Int[Tensor, " asked"] | None = None,
    ) -> Float[Tensor, "batch asked row key"]:
        """Who looks at whom: the pattern of the asked rows and heads, computed beside the pass."""
        query, key, _, given = self._prepare(tokens, context, mask, None, places)
        return self.mechanism.pattern(query, key, rows=rows, heads=heads, **given)

    def new_cache(self, kind: str = "full", size: int | None = None) -> KeyValueCache | SlidingCache:
        """An empty cache for this layer, to give to `forward`: "full" or "sliding", as in `cache.new_cache`.

        Raises:
            ValueError: If the mechanism cannot go on from a cache, or there is no such kind.
        """
        self.mechanism.require({"cache": True})
        return new_cache(kind, size)

    def _prepare(
        self,
        tokens: Tensor,
        context: Tensor | None,
        mask: Mask | Tensor | None,
        cache: Cache | None,
        places: Tensor | None,
    ) -> tuple[Heads, KeyHeads, KeyHeads, dict[str, Any]]:
        query, key, value = self._project(tokens, context, places)
        start = 0 if cache is None else cache.length
        bias = cast(Bias, self.positions) if self.has_bias else None
        if self.has_rotation:
            numbers = torch.arange(start, start + tokens.shape[1], device=tokens.device)
            rotate = cast(Rotation, self.positions).rotate
            if key is query:
                query = key = rotate(query, numbers)
            else:  # side by side, so that angles are computed once
                heads = (query.shape[1], key.shape[1])
                query, key = rotate(torch.cat([query, key], dim=1), numbers).split(heads, dim=1)
        offset = 0
        if cache is not None:
            self.mechanism.require({"cache": True})
            if context is not None:
                raise ValueError("a cache belongs to self-attention, but got a context too; leave one out.")
            structure = self.mechanism.structure(start + tokens.shape[1], tokens.device)
            masks = (self.mask, as_mask(mask), structure)
            check_reach(cache.window, [part for part in masks if part is not None], bias)
            key, value, offset = cache.append(key, value)
        joint = both(self.mask, as_mask(mask, offset))
        return query, key, value, {"mask": joint, "bias": bias, "query_offset": offset}

    def _project(
        self, tokens: Tensor, context: Tensor | None, places: Tensor | None
    ) -> tuple[Heads, KeyHeads, KeyHeads]:
        if hasattr(self, "qkv") != (context is None):
            expected = "no context" if context is not None else "a context"
            raise ValueError(
                f"this layer expects {expected}: cross-attention is built with context_dim, self-attention "
                f"without, but got context {None if context is None else tuple(context.shape)}."
            )
        dim = self.head_dim
        if context is not None:
            if places is not None:
                raise ValueError("places belong to self-attention, but got a context too; leave one out.")
            parts = (self.q(tokens), *self.kv(context).chunk(2, dim=-1))
        elif places is None:
            parts = self.qkv(tokens).split([heads * dim for heads in self.parts], dim=-1)
        else:
            split_at = [sum(self.parts[:-1]) * dim, self.parts[-1] * dim]
            biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split(split_at)
            matching, value = zip(self.qkv.weight.split(split_at), biases, strict=True)
            matched = F.linear(tokens + places, *matching).split(
                [heads * dim for heads in self.parts[:-1]], -1
            )
            parts = (*matched, F.linear(tokens, *value))
        split = [rearrange(part, "batch token (head dim) -> batch head token dim", dim=dim) for part in parts]
        return split[0], split[-2] if len(split) == 3 else split[0], split[-1]


def build_mechanism(name: str, shape: LayerShape, options: Mapping[str, Any]) -> Mechanism:
    """The mechanism called `name`, for a layer of `shape`.

    Raises:
        UnknownNameError: If no mechanism has that name.
        ValueError: If it does not take one of the `options`, or needs to know more of the shape.
    """
    kind = mechanisms.get(name)
    try:
        return kind.build(shape, **options)
    except TypeError as error:
        raise ValueError(f"{name} attention cannot be built with {dict(options)}: {error}.") from error
