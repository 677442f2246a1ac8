"""A transformer from image to image: an encoder reads the patches, and patches of the answer ask it what to show.

`vaswani2017attention`. Differs: blocks normalise first, all patches of the answer ask at once, and tokens become pixels
through windows that overlap (`archaeology.models.patch_canvas`).

What a query starts as is a choice. "patches": the embedded patch at its place, which knows what it shows and asks what
should become of it. "places" (`carion2020end`): a learned vector plus the features of its place, which knows nothing of
the image and has to find even its own patch by attention. For that, the same features are added to what cross-attention
reads, and keys start out projected as queries are, so that like finds like. They are those that the encoder got; with
positions that act inside self-attention ("rotary", "alibi", "relative_bias") they are sinusoidal, as cross-attention
has no positions of its own; with "none" there are none, and all such queries are the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.mechanism import LayerShape
from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.position_scheme import PositionScheme, position_scheme
from archaeology.attention.positions import POSITIONS, GridPositions, SequencePositions
from archaeology.core.shapes import Image
from archaeology.models.block import Block, mlp
from archaeology.models.patch_canvas import PatchCanvas
from archaeology.models.patch_stem import patch_stem
from archaeology.models.registry import models

Tokens = Float[Tensor, "batch token embed"]
QUERIES = ("patches", "places")


class DecoderBlock(nn.Module):
    """Queries look at one another (`attn`), then at what the encoder made (`cross`), then think (`mlp`)."""

    def __init__(self, shape: LayerShape, scheme: PositionScheme, mlp_ratio: float) -> None:
        super().__init__()
        embed_dim = shape.num_heads * shape.head_dim
        self.norm1 = nn.LayerNorm(embed_dim)
        self.attn = self_attention(shape, scheme)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.cross = MultiHeadAttention(embed_dim, shape.num_heads, context_dim=embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim)
        self.mlp = mlp(embed_dim, mlp_ratio, "gelu")

    def forward(self, queries: Tokens, context: Float[Tensor, "batch key embed"]) -> Tokens:
        """Queries that know more."""
        queries = queries + self.attn(self.norm1(queries))
        queries = queries + self.cross(self.norm2(queries), context)
        return queries + self.mlp(self.norm3(queries))


@models.register("encoder_decoder")
class EncoderDecoder(nn.Module):
    """Images in, images of the same size out, by attention between patches.

    Self-attention is in `encoder.N.attn` and `decoder.N.attn`, cross-attention in `decoder.N.cross`. Token n stands for
    patch n, row by row, of the image in the encoder and of the answer in the decoder.

    Attributes:
        image_size: Height and width in pixels.
        patch_size: Side of a patch in pixels.
        grid: Rows and columns of the patches.
    """

    def __init__(
        self,
        image_size: int = 128,
        patch_size: int = 16,
        *,
        embed_dim: int = 128,
        encoder_depth: int = 2,
        decoder_depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        positions: str = "sinusoidal",
        stem: str = "convolutional",
        queries: str = "patches",
    ) -> None:
        """Build with fresh weights; the first answers are near zero.

        Args:
            image_size: Side in pixels; patch_size divides it.
            patch_size: Side of a patch in pixels; 4 divides it.
            embed_dim: Features of a token; num_heads divides it, and 4 where positions are sinusoidal.
            encoder_depth: Blocks of the encoder. Without any, the decoder reads the embedded patches.
            decoder_depth: Blocks of the decoder. Without any, the encoder's tokens become the pixels of their patches.
            num_heads: Heads of every attention.
            mlp_ratio: Hidden features of the MLPs over embed_dim.
            positions: A scheme of `archaeology.attention.position_scheme`, on the grid of patches.
            stem: How patches become tokens: "convolutional" or "linear".
            queries: What the decoder's queries start as: "patches" or "places".

        Raises:
            ValueError: If the sizes do not fit or a word is unknown.
        """
        super().__init__()
        if patch_size < 4 or patch_size % 4 or image_size < patch_size or image_size % patch_size:
            raise ValueError(
                f"patch_size must divide image_size and be divisible by 4, but got {image_size=}, {patch_size=}; "
                "resize the images or choose another patch_size."
            )
        if min(encoder_depth, decoder_depth) < 0 or encoder_depth + decoder_depth == 0:
            raise ValueError(
                "encoder_depth and decoder_depth must be >= 0 and not both 0, but got "
                f"{encoder_depth=}, {decoder_depth=}."
            )
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        if queries not in QUERIES:
            raise ValueError(f"queries must be one of {', '.join(QUERIES)}, but got {queries!r}.")
        self.image_size = (image_size, image_size)
        self.patch_size = patch_size
        self.grid = (image_size // patch_size, image_size // patch_size)
        shape = LayerShape(num_heads, embed_dim // num_heads, self.grid[0] * self.grid[1], self.grid)
        scheme = position_scheme(positions, shape)
        self.patch_embed = patch_stem(stem, patch_size, embed_dim)
        self.positions = scheme.added
        self.encoder = nn.ModuleList(
            Block(self_attention(shape, scheme), embed_dim, mlp_ratio, "gelu") for _ in range(encoder_depth)
        )
        self.encoder_norm = nn.LayerNorm(embed_dim)
        self.decoder = nn.ModuleList(DecoderBlock(shape, scheme, mlp_ratio) for _ in range(decoder_depth))
        self.query_places: GridPositions | None = None
        if decoder_depth:
            self.decoder_norm = nn.LayerNorm(embed_dim)
        self.asks_by_place = queries == "places" and decoder_depth > 0
        self.query_places: GridPositions | None = None
        if self.asks_by_place:
            self.query = nn.Parameter(0.02 * torch.randn(1, 1, embed_dim))
            if positions not in POSITIONS:
                self.query_places = GridPositions("sinusoidal", *self.grid, embed_dim)
            self._project_keys_as_queries()
        self.canvas = PatchCanvas(self.grid, patch_size, embed_dim)

    def forward(self, images: Image) -> Image:
        """The images redrawn; values may leave [0, 1].

        Raises:
            ValueError: If the images have another size than the model was built for.
        """
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f"images must be {self.image_size} pixels, but got {tuple(images.shape[-2:])}; resize them."
            )
        patches = self.positions(self.patch_embed(images))
        tokens = self.encode(patches)
        return self.canvas(self.decode(patches, tokens) if len(self.decoder) else tokens, images)

    def encode(self, patches: Tokens) -> Tokens:
        """What the encoder makes of embedded patches."""
        for block in self.encoder:
            patches = block(patches)
        return self.encoder_norm(patches)

    def decode(self, patches: Tokens, tokens: Tokens) -> Tokens:
        """What the queries, one for each patch of the answer, find in the encoder's tokens."""
        queries = patches
        if self.asks_by_place:
            queries, tokens = self.places(self.query.expand_as(tokens)), self.places(tokens)
        for block in self.decoder:
            queries = block(queries, tokens)
        return self.decoder_norm(queries)

    @property
    def places(self) -> GridPositions | SequencePositions:
        """Adds the features of places to queries by place, and to what they look at."""
        return self.positions if self.query_places is None else self.query_places

    @torch.no_grad()
    def _project_keys_as_queries(self) -> None:
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            keys, queries = block.cross.kv, block.cross.q
            keys.weight[: len(queries.weight)] = queries.weight
            keys.bias[: len(queries.bias)] = queries.bias


def self_attention(shape: LayerShape, scheme: PositionScheme) -> MultiHeadAttention:
    """Softmax attention of the tokens of a grid to one another."""
    return MultiHeadAttention(shape.num_heads * shape.head_dim, shape.num_heads, positions=scheme.inside())
