"""A vision transformer: cut the image into patches, treat them as words, let them look at one another.

`dosovitskiy2021image`, with the plainer choices of `beyer2022better` (average pooling, fixed sinusoidal positions) at
hand. Differs: registers (`darcet2024vision`), PatchDropout in training (`liu2023patchdropout`) and a patch projection
that may start as a whitening of real patches (as the first layer in `jordan2024airbench`). A token more, with a head of
its own, learns from a teacher (`touvron2021training`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.build import attention_layer
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.position_scheme import position_scheme
from archaeology.attention.positions import POSITIONS, resized_grid_features
from archaeology.core.shapes import Image, Logits
from archaeology.models.block import Block
from archaeology.models.convolutional_stem import stem_of
from archaeology.models.registry import models

#: What the head reads, and which tokens that needs before the patches.
POOLINGS = {"class_token": ("class",), "mean": (), "distilled": ("class", "distillation")}


@models.register("vit")
class ViT(nn.Module):
    """Vision transformer on square patches; images come normalised.

    Attributes:
        patch_keep: Share of patches kept in training (PatchDropout); evaluation always sees all. May be changed
            while training, as a schedule does.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 32,
        patch_size: int = 4,
        num_classes: int = 10,
        *,
        embed_dim: int = 128,
        depth: int = 6,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        attention: str = "softmax",
        attention_options: Mapping[str, Any] | None = None,
        positions: str = "sinusoidal",
        pooling: str = "mean",
        num_registers: int = 0,
        activation: str = "gelu",
        stem: str = "linear",
        stem_options: Mapping[str, Any] | None = None,
        norm: str = "pre",
        norm_eps: float = 1e-5,
        layer_scale: float | None = None,
        qkv_bias: bool = True,
    ) -> None:
        """Build with fresh weights; the head starts at zero, so the first loss is log(num_classes).

        Args:
            image_size: Side, or height and width, in pixels; patch_size divides both.
            patch_size: Side of a patch in pixels.
            num_classes: Logits.
            embed_dim: Features of a token; num_heads divides it, and 4 where positions are sinusoidal.
            depth: Blocks.
            num_heads: Heads of every block.
            mlp_ratio: Hidden features of the MLP over embed_dim.
            attention: How tokens look at one another: a registered mechanism or layer of `archaeology.attention`.
            attention_options: What to build it with.
            positions: A scheme of `archaeology.attention.position_scheme`, in two dimensions: "none", "linear",
                "learnable" and "sinusoidal" are added to the patches, "rotary", "alibi" and "relative_bias" act in
                every layer.
            pooling: What the head reads: "class_token", the "mean" of the patches, or "distilled", where a head reads
                the class token and another one a distillation token.
            num_registers: Extra tokens that belong to no patch.
            activation: "gelu", "relu" or "silu".
            stem: "linear" maps every patch by itself; "convolutional" looks over their edges.
            stem_options: What to build a `ConvolutionalStem` with, beside the sizes.
            norm: Where blocks normalise: "pre" or "post".
            norm_eps: Added to variances that are divided by; 1e-6 in models of timm.
            layer_scale: First value of the learned factors of the blocks' branches; no factors if None.
            qkv_bias: Whether queries, keys and values have a bias.

        Raises:
            ValueError: If the sizes do not fit or a word is unknown.
        """
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if patch_size < 1 or height % patch_size or width % patch_size or min(height, width) < patch_size:
            raise ValueError(
                f"patch_size must divide image_size, but got image_size={(height, width)}, {patch_size=}; "
                "resize the images or choose another patch_size."
            )
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, but got {pooling!r}.")
        if depth < 1 or num_registers < 0:
            raise ValueError(
                f"depth must be >= 1 and num_registers >= 0, but got {depth=}, {num_registers=}."
            )
        self.image_size = (height, width)
        self.patch_size = patch_size
        self.pooling = pooling
        self.grid = (height // patch_size, width // patch_size)
        self.num_registers = num_registers
        self.patch_keep = 1.0
        self.patch_embed = stem_of(stem, patch_size, embed_dim, stem_options)
        self.num_prefix = len(POOLINGS[pooling]) + num_registers
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, but got {embed_dim=}, {num_heads=}.")
        num_tokens = self.num_prefix + self.grid[0] * self.grid[1]
        shape = LayerShape(num_heads, embed_dim // num_heads, num_tokens, self.grid, self.num_prefix)
        scheme = position_scheme(positions, shape)
        self.positions = scheme.added
        self.prefix = nn.Parameter(0.02 * torch.randn(1, self.num_prefix, embed_dim))
        layers = [
            attention_layer(
                attention, shape, positions=scheme.inside(), options=attention_options, qkv_bias=qkv_bias
            )
            for _ in range(depth)
        ]
        self.knows_places = attention != "softmax" or positions not in POSITIONS
        kind = {"norm": norm, "norm_eps": norm_eps, "layer_scale": layer_scale}
        self.blocks = nn.ModuleList(
            Block(layer, embed_dim, mlp_ratio, activation, **kind) for layer in layers
        )
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.head = nn.Linear(embed_dim, num_classes)
        if pooling == "distilled":
            self.head_distillation = nn.Linear(embed_dim, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)
        if self.pooling == "distilled":
            nn.init.zeros_(self.head_distillation.weight)

    def patches(self, images: Image) -> Float[Tensor, "batch token pixel"]:
        """Images cut into flattened patches, row by row."""
        return rearrange(
            images,
            "batch channel (row height) (column width) -> batch (row column) (channel height width)",
            height=self.patch_size,
            width=self.patch_size,
        )

    def forward(self, images: Image) -> Logits | tuple[Logits, Logits]:
        """Logits of normalised images; in training, where pooling is "distilled", those of either head.

        Raises:
            ValueError: If the images have another size than the model was built for.
        """
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f"images must be {self.image_size} pixels, but got {tuple(images.shape[-2:])}; resize them."
            )
        return self.classify(self.encode(self.drop_patches(self.embed(images))))

    def embed(self, images: Image) -> Float[Tensor, "batch token embed"]:
        """Patches as tokens that know their places, row by row.

        Images of another size, such as small crops, get the features of the whole grid's places, interpolated
        (`caron2021emerging`).

        Raises:
            ValueError: If they have another size and layers must know where each patch lies.
        """
        tokens = self.patch_embed(self.patches(images) if isinstance(self.patch_embed, nn.Linear) else images)
        grid = (images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size)
        if grid == self.grid:
            return self.positions(tokens)
        if self.knows_places or self.positions.kind == "none":
            raise ValueError(
                f"images must be {self.image_size} pixels where attention itself knows places, but got "
                f"{tuple(images.shape[-2:])}; use softmax attention and positions that are added to the patches."
            )
        return tokens + resized_grid_features(self.positions.features(), self.grid, grid).to(tokens.dtype)

    def encode(self, patches: Float[Tensor, "batch patch embed"]) -> Float[Tensor, "batch token embed"]:
        """Embedded patches, all or some of them, with prefix tokens in front, after all blocks."""
        prefix = self.prefix.expand(len(patches), -1, -1).to(patches.dtype)
        tokens = torch.cat([prefix, patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def read(self, tokens: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch embed"]:
        """What the head reads of the last block's tokens."""
        return self.norm(tokens[:, self.num_prefix :].mean(dim=1) if self.pooling == "mean" else tokens[:, 0])

    def classify(self, tokens: Float[Tensor, "batch token embed"]) -> Logits | tuple[Logits, Logits]:
        """What the heads say, reading the last block's tokens; two opinions in training, otherwise their mean."""
        own = self.head(self.read(tokens))
        if self.pooling != "distilled":
            return own
        taught = self.head_distillation(self.norm(tokens[:, 1]))
        return (own, taught) if self.training else (own + taught) / 2

    def drop_patches(self, patches: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch kept embed"]:
        """In training, keep a random `patch_keep` of every image's patches, in order; otherwise all of them.

        Raises:
            ValueError: If layers must know where each patch lies, which they could not tell any more.
        """
        count = patches.shape[1]
        kept = max(1, round(count * self.patch_keep))
        if not self.training or kept == count:
            return patches
        if self.knows_places:
            raise ValueError(
                f"patch_keep must be 1 where attention itself knows places, but got {self.patch_keep}; use softmax "
                "attention and positions that are added to the patches."
            )
        chosen = (
            torch.rand(patches.shape[:2], device=patches.device).argsort(dim=1)[:, :kept].sort(dim=1).values
        )
        return patches.gather(1, chosen[:, :, None].expand(-1, -1, patches.shape[2]))

    def token_layout(self) -> dict[str, object]:
        """Rows, columns, names of prefix tokens and what the head reads, for whoever draws maps."""
        return {
            "rows": self.grid[0],
            "columns": self.grid[1],
            "prefix": POOLINGS[self.pooling] + ("register",) * self.num_registers,
            "readout": "mean" if self.pooling == "mean" else "class_token",
        }

    @torch.no_grad()
    def whiten_patches(self, images: Image, *, generator: torch.Generator, epsilon: float = 1e-2) -> None:
        """Start the patch projection as a random rotation of whitened patches, so that no pixel direction dominates.

        Args:
            images: A few thousand normalised training images.
            generator: Randomness of the rotation.
            epsilon: Added to the variances, so that noise directions are not blown up.

        Raises:
            ValueError: If the stem is convolutional.
        """
        if not isinstance(self.patch_embed, nn.Linear):
            raise ValueError("only a linear stem can start whitened, but got convolutions; leave that out.")
        pixels = self.patches(images.double()).flatten(0, 1)
        pixels = pixels - pixels.mean(dim=0)
        variances, directions = torch.linalg.eigh(pixels.T @ pixels / len(pixels))
        whitening = directions / (variances + epsilon).sqrt()
        embed_dim, num_pixels = self.patch_embed.weight.shape
        size = max(embed_dim, num_pixels)
        rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
        # 0.7 keeps the tokens of the size that the sinusoidal positions (variance one half) have.
        self.patch_embed.weight.copy_(0.7 * rotation[:embed_dim, :num_pixels] @ whitening.T)
