"""A small language model: every token looks at those before it, and says which comes next.

`touvron2023llama`: blocks that read a copy normalised to mean square one (`zhang2019root`), rotary positions and gated
MLPs. Differs: heads may share keys, attention may be latent, and experts may take the place of the MLPs, so that one
file shows what each of them changes. Not a model of images: it takes token numbers, and no specimen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.attention.cache import KeyValueCache, SlidingCache
from archaeology.attention.latent import LatentAttention, LatentCache
from archaeology.attention.masks import Mask, band_of, causal, padding
from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.rotary import Rotary
from archaeology.models.experts import MixtureOfExperts
from archaeology.models.gated import GatedMLP
from archaeology.models.registry import models
from archaeology.models.router import Routing

ATTENTIONS = ("multi_head", "latent")
POSITIONS = ("rotary", "learnable", "none")
Caches = Sequence[KeyValueCache | SlidingCache | LatentCache]


class DecoderBlock(nn.Module):
    """Attend to earlier tokens, then think: both read a normalised copy and add to the token."""

    def __init__(
        self, embed_dim: int, attn: MultiHeadAttention | LatentAttention, mlp: GatedMLP | MixtureOfExperts
    ) -> None:
        super().__init__()
        self.norm1, self.attn = nn.RMSNorm(embed_dim, eps=1e-6), attn
        self.norm2, self.mlp = nn.RMSNorm(embed_dim, eps=1e-6), mlp

    def forward(
        self,
        tokens: Float[Tensor, "batch token embed"],
        *,
        cache: KeyValueCache | SlidingCache | LatentCache | None = None,
        valid: Bool[Tensor, "batch token"] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch token embed"]:
        """Tokens after one round of looking and thinking."""
        mask = None if valid is None else padding(valid)
        tokens = tokens + self.attn(self.norm1(tokens), mask=mask, cache=cache)
        if isinstance(self.mlp, MixtureOfExperts):
            return tokens + self.mlp(self.norm2(tokens), valid=valid, routings=routings)
        return tokens + self.mlp(self.norm2(tokens))


@models.register("decoder")
class Decoder(nn.Module):
    """Language model on token numbers; nobody sees the future."""

    def __init__(
        self,
        num_tokens: int = 256,
        *,
        embed_dim: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        num_key_heads: int | None = None,
        hidden_dim: int | None = None,
        positions: str = "rotary",
        rotary_base: float = 10_000.0,
        max_length: int | None = None,
        window: int | None = None,
        attention: str = "multi_head",
        attention_options: Mapping[str, Any] | None = None,
        experts: Mapping[str, Any] | None = None,
    ) -> None:
        """Build with fresh weights.

        Args:
            num_tokens: Kinds of tokens: the vocabulary.
            embed_dim: Features of a token; num_heads divides it.
            depth: Blocks.
            num_heads: Heads of every block.
            num_key_heads: Heads of keys and values, each shared by a group of query heads; as many if None.
            hidden_dim: Hidden features of an MLP, or of one expert; 8/3 embed_dim, in steps of 16, if None.
            positions: "rotary", "learnable" or "none".
            rotary_base: The longest rotary wavelength is about 2 pi times this, in tokens.
            max_length: Tokens of the longest sequence, for learnable positions; others have no limit.
            window: How many tokens a token sees, itself included; None for all before it.
            attention: "multi_head", or "latent" for keys and values that unfold from a small latent.
            attention_options: More arguments of `MultiHeadAttention` or `LatentAttention`.
            experts: Arguments of `MixtureOfExperts`, which then takes the place of every MLP.

        Raises:
            ValueError: If a word is unknown or the sizes do not fit together.
        """
        super().__init__()
        for name, word, known in (("positions", positions, POSITIONS), ("attention", attention, ATTENTIONS)):
            if word not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, but got {word!r}.")
        if min(num_tokens, depth) < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                "num_tokens and depth must be >= 1, and num_heads divide embed_dim, but got "
                f"{num_tokens=}, {depth=}, {embed_dim=}, {num_heads=}."
            )
        if (positions == "learnable") != (max_length is not None):
            raise ValueError(
                f"max_length belongs to learnable positions, but got {positions=}, {max_length=}."
            )
        if attention == "latent" and num_key_heads is not None:
            raise ValueError(f"latent attention shares its latent among all heads, but got {num_key_heads=}.")
        if window is not None and window < 1:
            raise ValueError(f"window must be 1 or more tokens, or None for all, but got {window}.")
        self.num_tokens, self.max_length, self.window = num_tokens, max_length, window
        mask = causal() if window is None else band_of(window - 1, 0)
        base = rotary_base if positions == "rotary" else None
        options = dict(attention_options or {})
        if attention == "multi_head":
            options["num_key_heads"] = num_key_heads
        hidden_dim = -(-embed_dim // 6) * 16 if hidden_dim is None else hidden_dim
        self.embed = nn.Embedding(num_tokens, embed_dim)
        self.positions = (
            None if max_length is None else nn.Parameter(0.02 * torch.randn(max_length, embed_dim))
        )
        self.blocks = nn.ModuleList(
            DecoderBlock(
                embed_dim,
                attention_layer(attention, embed_dim, num_heads, options, mask, base),
                GatedMLP(embed_dim, hidden_dim)
                if experts is None
                else MixtureOfExperts(embed_dim, hidden_dim, **experts),
            )
            for _ in range(depth)
        )
        self.norm = nn.RMSNorm(embed_dim, eps=1e-6)
        self.head = nn.Linear(embed_dim, num_tokens, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self,
        tokens: Int[Tensor, "batch token"],
        *,
        caches: Caches | None = None,
        valid: Bool[Tensor, "batch token"] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch token vocabulary"]:
        """Scores of what comes after each token; arguments as for `states`."""
        return self.head(self.states(tokens, caches=caches, valid=valid, routings=routings))

    def states(
        self,
        tokens: Int[Tensor, "batch token"],
        *,
        caches: Caches | None = None,
        valid: Bool[Tensor, "batch token"] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch token embed"]:
        """What the head reads.

        Args:
            tokens: Numbers below `num_tokens`.
            caches: One for each block, from `new_caches`; they hold what came before, and take up these tokens.
            valid: False where a token is padding.
            routings: Takes up how every block's experts were chosen, for the loss and for balancing.

        Raises:
            ValueError: If there are more tokens than learnable positions, or caches and padding do not fit.
        """
        if caches is not None and (len(caches) != len(self.blocks) or valid is not None):
            raise ValueError(
                f"caches must be one for each of {len(self.blocks)} blocks, and without padding, but got "
                f"{len(caches)} caches, valid {'not ' * (valid is None)}given."
            )
        states = self.embed(tokens)
        if self.positions is not None:
            start = 0 if caches is None else caches[0].length
            self.check_length(start + tokens.shape[1])
            states = states + self.positions[start : start + tokens.shape[1]]
        for index, block in enumerate(self.blocks):
            cache = None if caches is None else caches[index]
            states = block(states, cache=cache, valid=valid, routings=routings)
        return self.norm(states)

    def new_caches(self, capacity: int | None = None) -> Caches:
        """An empty cache for every block, with room for `capacity` tokens, or for as many as come."""
        if isinstance(self.blocks[0].attn, LatentAttention):
            return [LatentCache(capacity=capacity) for _ in self.blocks]
        if self.window is not None:
            return [SlidingCache(self.window) for _ in self.blocks]
        return [KeyValueCache(capacity=capacity) for _ in self.blocks]

    def check_length(self, length: int) -> None:
        """Raise if a sequence of this length is too long.

        Raises:
            ValueError: If it is.
        """
        if self.max_length is not None and length > self.max_length:
            raise ValueError(
                f"learnable positions end at max_length={self.max_length}, but got {length} tokens."
            )


def attention_layer(
    kind: str, embed_dim: int, num_heads: int, options: Mapping[str, Any], mask: Mask, base: float | None
) -> MultiHeadAttention | LatentAttention:
    """The attention of one block; `base` is that of rotary positions, None without them."""
    head_dim = embed_dim // num_heads
    if kind == "latent":
        width = options.get("rotary_dim", 2 * max(1, head_dim // 4))
        positions = None if base is None else Rotary(width, base)
        return LatentAttention(
            embed_dim, num_heads, **{"rotary_dim": width, **options}, mask=mask, positions=positions
        )
    positions = None if base is None else Rotary(head_dim, base)
    return MultiHeadAttention(embed_dim, num_heads, **options, mask=mask, positions=positions)
