"""Keys and values of all heads are shadows of one small vector per token, so a cache need only keep that vector.

Multi-head latent attention, `liu2024strong`, section 2.1 (queries as in `liu2024technical`, section 2.1.1). A token is
squeezed to a latent of a few hundred features, from which every head unfolds its own keys and values. Positions turn
keys, and a turned key cannot be unfolded afterwards, so they get a few features of their own, one turned key for all
heads. To score a query against an unfolded key, `q (U c)`, is to score the folded query against the latent, `(q U) c`:
decoding never unfolds anything (`absorbed`). Differs: the unfolded and the absorbed way are chosen by their cost, and
there is no YaRN.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.attention.cache import Shelf
from archaeology.attention.layers import Layer, layers
from archaeology.attention.masks import Mask, as_mask, both
from archaeology.attention.mechanism import Ability, Facts, LayerShape
from archaeology.attention.rotary import Rotation
from archaeology.attention.softmax import Softmax

Queries = Float[Tensor, "batch head token dim"]
Shared = Float[Tensor, "batch key shared"]  # latent and turned key, side by side
LONG = 1024  # tokens from which PyTorch's fused kernel gains more than wider values cost it


class LatentCache:
    """Latent and turned key of every token so far: all that decoding needs, for all heads together."""

    window: int | None = None  # how many tokens are kept: all

    def __init__(self, *, capacity: int | None = None) -> None:
        """Room for `capacity` tokens, and an error beyond it; without one, room doubles when it is full.

        Raises:
            ValueError: If `capacity` is less than 1.
        """
        self._shared = Shelf("latent", capacity)

    @property
    def length(self) -> int:
        """How many tokens were seen."""
        return self._shared.length

    @property
    def num_bytes(self) -> int:
        """Memory set aside."""
        return self._shared.num_bytes

    def append(self, shared: Float[Tensor, "batch token shared"]) -> Shared:
        """Take up new tokens; all of them, the new ones last.

        Raises:
            ValueError: If batch or features are others than before, or the capacity is exceeded.
            TypeError: If dtype or device is another than before.
            RuntimeError: If a gradient is asked for.
        """
        return self._shared.append(shared)


@layers.register("latent")
class LatentAttention(Layer):
    """Attention whose keys and values unfold from a small latent; it decodes from a cache of latents."""

    supports: ClassVar[frozenset[Ability]] = frozenset({"causal", "padding", "mask", "cache"})
    facts: ClassVar[Facts] = Facts(
        title="Multi-head latent attention",
        formula="softmax((Q U_K C^T + Q_R K_R^T) / sqrt(d + d_R)) C U_V",
        time="N^2 d",
        memory="N (c + d_R) for all heads in the cache",
        relation="exact",
        source="liu2024strong",
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "LatentAttention":
        """For a layer of this shape."""
        return cls(shape.num_heads * shape.head_dim, shape.num_heads, **options)

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        value_dim: int | None = None,
        latent_dim: int | None = None,
        rotary_dim: int | None = None,
        query_latent_dim: int | None = None,
        mask: Mask | None = None,
        positions: Rotation | None = None,
    ) -> None:
        """Build with fresh weights; sizes not given are in the paper's proportions.

        Args:
            embed_dim: Features of a token.
            num_heads: Heads.
            head_dim: Features of a head that positions leave alone; `embed_dim / num_heads` if None.
            value_dim: Features of a head's values; as many as `head_dim` if None.
            latent_dim: Features of the latent of keys and values; `4 head_dim` if None.
            rotary_dim: Features of a head that positions turn, besides; `head_dim / 2` if None.
            query_latent_dim: Features of the latent of queries; None for queries straight from the token.
            mask: Who may look at whom in every pass, beside what a pass is given.
            positions: Turns `rotary_dim` features (`Rotary`); None for no positions.

        Raises:
            ValueError: If a size is less than 1, or heads do not divide `embed_dim` where it decides.
        """
        super().__init__()
        if head_dim is None and (num_heads < 1 or embed_dim % num_heads):
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        head_dim = embed_dim // num_heads if head_dim is None else head_dim
        value_dim = head_dim if value_dim is None else value_dim
        latent_dim = 4 * head_dim if latent_dim is None else latent_dim
        rotary_dim = max(1, head_dim // 2) if rotary_dim is None else rotary_dim
        sizes = {"num_heads": num_heads, "head_dim": head_dim, "value_dim": value_dim}
        sizes |= {"latent_dim": latent_dim, "rotary_dim": rotary_dim}
        if min(sizes.values()) < 1 or (query_latent_dim is not None and query_latent_dim < 1):
            raise ValueError(f"sizes must be 1 or more, but got {sizes}, {query_latent_dim=}.")
        self.num_heads, self.head_dim, self.value_dim = num_heads, head_dim, value_dim
        self.latent_dim, self.rotary_dim = latent_dim, rotary_dim
        self.mask, self.positions = mask, positions
        query_dim = num_heads * (head_dim + rotary_dim)
        if query_latent_dim is None:
            self.query = nn.Linear(embed_dim, query_dim, bias=False)
        else:
            self.query = nn.Sequential(
                nn.Linear(embed_dim, query_latent_dim, bias=False),
                nn.RMSNorm(query_latent_dim, eps=1e-6),
                nn.Linear(query_latent_dim, query_dim, bias=False),
            )
        self.down = nn.Linear(embed_dim, latent_dim + rotary_dim, bias=False)
        self.norm = nn.RMSNorm(latent_dim, eps=1e-6)
        self.up = nn.Linear(latent_dim, num_heads * (head_dim + value_dim), bias=False)
        self.mechanism = Softmax(scale=(head_dim + rotary_dim) ** -0.5)
        self.proj = nn.Linear(num_heads * value_dim, embed_dim, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "batch token embed"],
        *,
        mask: Mask | Tensor | None = None,
        cache: LatentCache | None = None,
    ) -> Float[Tensor, "batch token embed"]:
        """Every token gathers from all tokens.

        Args:
            tokens: What looks and is looked at.
            mask: Who may look at whom in this pass, for example `padding(valid)`.
            cache: Latents of earlier tokens; takes up the new ones.

        Raises:
            TypeError: If the cache is one of keys and values.
        """
        query, shared, start = self._prepare(tokens, cache)
        way = self.absorbed if cache is not None and self.absorbs(tokens.shape[1]) else self.unfolded
        answer = way(query, shared, both(self.mask, as_mask(mask, start)), start)
        return self.proj(rearrange(answer, "batch head token dim -> batch token (head dim)"))

    def absorbs(self, num_queries: int) -> bool:
        """Whether to score that many new tokens against latents costs less than to unfold what is cached.

        A key costs `latent_dim (head_dim + value_dim)` products to unfold, and then fewer for each query.
        """
        more = 2 * self.latent_dim - self.head_dim - self.value_dim
        return num_queries * more <= self.latent_dim * (self.head_dim + self.value_dim)

    def unfolded(
        self, query: Queries, shared: Shared, mask: Mask | None, query_offset: int
    ) -> Float[Tensor, "batch head token value_dim"]:
        """The answer by the definition: keys and values of every head are unfolded."""
        key, value = self._unfold(shared)
        narrower = key.shape[3] - self.value_dim
        if narrower > 0 and key.shape[2] >= LONG:
            value = F.pad(value, (0, narrower))
        answer = self.mechanism(query, key, value, mask=mask, query_offset=query_offset)
        return answer[..., : self.value_dim]

    def absorbed(
        self, query: Queries, shared: Shared, mask: Mask | None, query_offset: int
    ) -> Float[Tensor, "batch head token value_dim"]:
        """The same answer from latents: the query is folded by what unfolds the key, the mean latent is unfolded."""
        unfold_key, unfold_value = self._weights()
        still, turned = query.split([self.head_dim, self.rotary_dim], dim=-1)
        folded = einsum(still, unfold_key, "batch head token dim, head dim latent -> batch head token latent")
        query, key = torch.cat([folded, turned], dim=-1), shared[:, None]  # one head of keys for all heads
        # The key serves as its own value, and what turns is cut off after: equal widths keep the kernel fused.
        mean = self.mechanism(query, key, key, mask=mask, query_offset=query_offset)[..., : self.latent_dim]
        return einsum(mean, unfold_value, "batch head token latent, head dim latent -> batch head token dim")

    def pattern(
        self,
        tokens: Float[Tensor, "batch token embed"],
        *,
        mask: Mask | Tensor | None = None,
        rows: Int[Tensor, " row"] | None = None,
        heads: Int[Tensor, " asked"] | None = None,
    ) -> Float[Tensor, "batch asked row key"]:
        """Who looks at whom: the pattern of the asked rows and heads, computed beside the pass."""
        query, shared, _ = self._prepare(tokens, None)
        key, _ = self._unfold(shared)
        return self.mechanism.pattern(query, key, mask=both(self.mask, as_mask(mask)), rows=rows, heads=heads)

    def _prepare(self, tokens: Tensor, cache: LatentCache | None) -> tuple[Queries, Shared, int]:
        """Queries, with the features that turn last; latents and turned keys; where the first query lies."""
        if cache is not None and not isinstance(cache, LatentCache):
            raise TypeError(
                f"latent attention keeps latents: give it a LatentCache, not {type(cache).__name__}."
            )
        start = 0 if cache is None else cache.length
        query = rearrange(
            self.query(tokens), "batch token (head dim) -> batch head token dim", head=self.num_heads
        )
        latent, key = self.down(tokens).split([self.latent_dim, self.rotary_dim], dim=-1)
        if self.positions is not None:
            places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
            still, turned = query.split([self.head_dim, self.rotary_dim], dim=-1)
            query = torch.cat([still, self.positions.rotate(turned, places)], dim=-1)
            key = self.positions.rotate(key[:, None], places)[:, 0]
        shared = torch.cat([self.norm(latent), key], dim=-1)
        return query, shared if cache is None else cache.append(shared), start

    def _unfold(self, shared: Shared) -> tuple[Tensor, Tensor]:
        latent, turned = shared.split([self.latent_dim, self.rotary_dim], dim=-1)
        both = rearrange(self.up(latent), "batch key (head dim) -> batch head key dim", head=self.num_heads)
        still, value = both.split([self.head_dim, self.value_dim], dim=-1)
        return torch.cat([still, turned[:, None].expand(-1, self.num_heads, -1, -1)], dim=-1), value

    def _weights(self) -> tuple[Float[Tensor, "head dim latent"], Float[Tensor, "head value_dim latent"]]:
        each = self.up.weight.unflatten(0, (self.num_heads, -1))
        return each[:, : self.head_dim], each[:, self.head_dim :]
