"""Windows that attend to themselves, shifted in every other layer, on maps that become coarser from stage to stage.

`liu2021swin`. Differs: sizes for small images by default; a map that windows do not divide is masked beyond its edge,
where the authors' code lets black patches take part; blocks are those of `ViT`.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.build import attention_layer
from archaeology.attention.mechanism import LayerShape
from archaeology.core.shapes import Image, Logits
from archaeology.models.block import Block
from archaeology.models.registry import models

Tokens = Float[Tensor, "batch token embed"]
Grid = tuple[int, int]


class PatchMerging(nn.Module):
    """Four neighbours become one token with twice the features; beyond an odd edge lie zeros."""

    def __init__(self, grid: Grid, embed_dim: int, norm_eps: float) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(4 * embed_dim, eps=norm_eps)
        self.reduction = nn.Linear(4 * embed_dim, 2 * embed_dim, bias=False)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch merged double"]:
        """Tokens of a map with half the rows and columns, rounded up."""
        rows, columns = self.grid
        cells = F.pad(tokens.unflatten(1, self.grid), (0, 0, 0, columns % 2, 0, rows % 2))
        merged = rearrange(
            cells,
            "batch (row down) (column right) embed -> batch (row column) (right down embed)",
            down=2,
            right=2,
        )
        return self.reduction(self.norm(merged))


class Stage(nn.Module):
    """Merge patches, in all stages but the first; then blocks whose windows lie straight and shifted in turn."""

    def __init__(self, merge: nn.Module, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch merged double"]:
        """Tokens after this stage."""
        tokens = self.merge(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


@models.register("swin")
class Swin(nn.Module):
    """A transformer on windows; images come normalised, and the mean of the last map is read.

    Attributes:
        grids: Rows and columns of each stage's map.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 32,
        patch_size: int = 2,
        num_classes: int = 10,
        *,
        embed_dim: int = 64,
        depths: Sequence[int] = (2, 2, 2),
        num_heads: Sequence[int] = (2, 4, 8),
        window: int = 4,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
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
            embed_dim: Features of a token in the first stage; each further stage doubles them.
            depths: Blocks of each stage.
            num_heads: Heads in each stage; they divide its features.
            window: Rows and columns of a window; a smaller map is one window, without shift.
            mlp_ratio: Hidden features of the MLPs over those of their tokens.
            activation: "gelu", "relu" or "silu".
            norm: Where blocks normalise: "pre" or "post".
            norm_eps: Added to variances that are divided by.
            layer_scale: First value of the learned factors of the blocks' branches; no factors if None.
            qkv_bias: Whether queries, keys and values have a bias.

        Raises:
            ValueError: If the sizes do not fit or a word is unknown.
        """
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        _check(height, width, patch_size, embed_dim, depths, num_heads)
        self.image_size, self.patch_size = (height, width), patch_size
        self.patch_embed = nn.Linear(3 * patch_size**2, embed_dim)
        self.norm_patches = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.grids = grids_of((height // patch_size, width // patch_size), len(depths))
        stages: list[Stage] = []
        for number, (grid, depth, heads) in enumerate(zip(self.grids, depths, num_heads, strict=True)):
            dim = embed_dim << number
            merge = PatchMerging(self.grids[number - 1], dim // 2, norm_eps) if number else nn.Identity()
            side = min(window, max(grid))
            blocks = [
                Block(
                    attention_layer(
                        "shifted_window",
                        LayerShape(heads, dim // heads, grid[0] * grid[1], grid),
                        options={"window": side, "shift": side // 2 * (index % 2)},
                        qkv_bias=qkv_bias,
                    ),
                    dim,
                    mlp_ratio,
                    activation,
                    norm=norm,
                    norm_eps=norm_eps,
                    layer_scale=layer_scale,
                )
                for index in range(depth)
            ]
            stages.append(Stage(merge, blocks))
        self.stages = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(embed_dim << (len(depths) - 1), eps=norm_eps)
        self.head = nn.Linear(embed_dim << (len(depths) - 1), num_classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)

    def forward(self, images: Image) -> Logits:
        """Logits of normalised images.

        Raises:
            ValueError: If the images have another size than the model was built for.
        """
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f"images must be {self.image_size} pixels, but got {tuple(images.shape[-2:])}; resize them."
            )
        patches = rearrange(
            images,
            "batch channel (row height) (column width) -> batch (row column) (channel height width)",
            height=self.patch_size,
            width=self.patch_size,
        )
        tokens = self.norm_patches(self.patch_embed(patches))
        for stage in self.stages:
            tokens = stage(tokens)
        return self.head(self.norm(tokens).mean(dim=1))

    def token_layout(self) -> dict[str, object]:
        """Rows and columns of the last map, which is what the head reads; no layer sees all tokens of the image."""
        rows, columns = self.grids[-1]
        return {"rows": rows, "columns": columns, "prefix": (), "readout": "mean", "order": "windows"}


def grids_of(first: Grid, num_stages: int) -> list[Grid]:
    """Rows and columns of each stage's map: halved from stage to stage, rounded up."""
    return [(-(-first[0] // 2**stage), -(-first[1] // 2**stage)) for stage in range(num_stages)]


def _check(
    height: int, width: int, patch_size: int, embed_dim: int, depths: Sequence[int], num_heads: Sequence[int]
) -> None:
    if patch_size < 1 or height % patch_size or width % patch_size or min(height, width) < patch_size:
        raise ValueError(
            f"patch_size must divide image_size, but got image_size={(height, width)}, {patch_size=}; "
            "resize the images or choose another patch_size."
        )
    if not depths or len(depths) != len(num_heads) or min(depths) < 1:
        raise ValueError(
            "depths and num_heads must have one positive number for each stage, but got "
            f"depths={list(depths)}, num_heads={list(num_heads)}."
        )
    dims = [embed_dim << stage for stage in range(len(depths))]
    if embed_dim < 1 or any(heads < 1 or dim % heads for dim, heads in zip(dims, num_heads, strict=True)):
        raise ValueError(
            f"num_heads must divide the features of each stage, but got num_heads={list(num_heads)} for {dims}."
        )
