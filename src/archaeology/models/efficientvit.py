"""A transformer that spends memory sparingly: few attentions, each between cheap steps, on maps that become coarser.

`liu2023efficientvit`: a stem of strided convolutions; stages of blocks that look at neighbours, think, attend in
cascaded groups inside windows (`cascaded_group` of the zoo), look and think again; between stages a gated convolution
halves the map. Differs: sizes for small images by default, a stem of as many halvings as the patch has, images that
need not be square. As in the authors' code, a map that windows do not divide is filled up with zeros, which take part.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.cascaded_group import CascadedGroupAttention
from archaeology.core.shapes import Image, Logits
from archaeology.models.registry import models

Map = Float[Tensor, "batch channel row column"]
Grid = tuple[int, int]


class Residual(nn.Module):
    """What a branch finds is added to what came in."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, maps: Map) -> Map:
        """Maps of the same shape."""
        return maps + self.branch(maps)


class WindowedCascade(nn.Module):
    """Cascaded group attention inside windows of a map."""

    def __init__(
        self, grid: Grid, window: int, sizes: tuple[int, int, int], kernel_sizes: Sequence[int]
    ) -> None:
        """`sizes` are features, heads and features of a query; a smaller map is one window."""
        super().__init__()
        side = min(window, *grid)
        self.window = grid if max(grid) <= side else (side, side)
        self.attention = CascadedGroupAttention(*sizes, self.window, kernel_sizes=kernel_sizes)

    def forward(self, maps: Map) -> Map:
        """Every cell gathers from the cells of its window."""
        (height, width), (rows, columns) = maps.shape[-2:], self.window
        filled = F.pad(maps, (0, -width % columns, 0, -height % rows))
        down = filled.shape[-2] // rows
        windows = rearrange(
            filled,
            "batch channel (down row) (right column) -> (batch down right) (row column) channel",
            row=rows,
            column=columns,
        )
        answers = rearrange(
            self.attention(windows),
            "(batch down right) (row column) channel -> batch channel (down row) (right column)",
            batch=len(maps),
            down=down,
            row=rows,
        )
        return answers[..., :height, :width]


class Gate(nn.Module):
    """Each channel is dimmed by a factor that all channels' means decide (squeeze and excitation)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, maps: Map) -> Map:
        """Maps of the same shape."""
        means = maps.mean(dim=(2, 3), keepdim=True)
        return maps * self.fc2(self.fc1(means).relu()).sigmoid()


class PatchMerging(nn.Sequential):
    """Half as many rows and columns, rounded up: widen, convolve with stride two, gate, narrow."""

    def __init__(self, dim: int, out_dim: int) -> None:
        hidden = 4 * dim
        halving = nn.Conv2d(hidden, hidden, 3, stride=2, padding=1, groups=hidden, bias=False)
        super().__init__(
            nn.Sequential(*_normalised(nn.Conv2d(dim, hidden, 1, bias=False)), nn.ReLU()),
            nn.Sequential(*_normalised(halving), nn.ReLU()),
            Gate(hidden, dim),
            nn.Sequential(*_normalised(nn.Conv2d(hidden, out_dim, 1, bias=False))),
        )


class Stage(nn.Module):
    """Merge patches, in all stages but the first; then blocks."""

    def __init__(self, merge: nn.Module, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Map) -> Float[Tensor, "batch out merged_row merged_column"]:
        """Maps after this stage."""
        maps = self.merge(maps)
        for block in self.blocks:
            maps = block(maps)
        return maps


@models.register("efficientvit")
class EfficientViT(nn.Module):
    """Cascaded group attention in windows, between convolutions; images come normalised, the mean is read.

    Attributes:
        grids: Rows and columns of each stage's map.
        target_layer: The last map, for Grad-CAM.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] = 32,
        patch_size: int = 4,
        num_classes: int = 10,
        *,
        embed_dims: Sequence[int] = (64, 128, 192),
        depths: Sequence[int] = (1, 2, 3),
        num_heads: Sequence[int] = (4, 4, 4),
        key_dim: int = 16,
        window: int = 7,
        kernel_sizes: Sequence[int] = (5, 5, 5, 5),
    ) -> None:
        """Build with fresh weights; every branch and the head start at zero, so the first loss is log(num_classes).

        Args:
            image_size: Side, or height and width, in pixels; patch_size divides both.
            patch_size: Side of a patch in pixels, a power of two; as many convolutions halve the image. The authors
                take 16 on images of 224 pixels.
            num_classes: Logits.
            embed_dims: Features in each stage.
            depths: Blocks of each stage.
            num_heads: Heads in each stage; they divide its features.
            key_dim: Features of a query and a key.
            window: Rows and columns of a window.
            kernel_sizes: Of the convolution of each head's queries, odd; one for each head or more.

        Raises:
            ValueError: If the sizes do not fit.
        """
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        _check(height, width, patch_size, embed_dims, depths, num_heads, kernel_sizes)
        self.image_size, self.patch_size = (height, width), patch_size
        self.stem = _stem(patch_size, embed_dims[0])
        rows, columns = height // patch_size, width // patch_size
        self.grids = [(-(-rows // 2**stage), -(-columns // 2**stage)) for stage in range(len(depths))]
        merges = [nn.Identity(), *(_between(dim, out_dim) for dim, out_dim in pairwise(embed_dims))]
        self.stages = nn.ModuleList(
            Stage(
                merge,
                [_block(grid, window, (dim, heads, key_dim), kernel_sizes[:heads]) for _ in range(depth)],
            )
            for merge, grid, dim, heads, depth in zip(
                merges, self.grids, embed_dims, num_heads, depths, strict=True
            )
        )
        self.norm = nn.BatchNorm1d(embed_dims[-1])
        self.head = nn.Linear(embed_dims[-1], num_classes)
        self.target_layer = f"stages.{len(depths) - 1}"
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, Residual):
                last = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)][-1]
                nn.init.zeros_(last.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Image) -> Logits:
        """Logits of normalised images.

        Raises:
            ValueError: If the images have another size than the model was built for.
        """
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f"images must be {self.image_size} pixels, but got {tuple(images.shape[-2:])}; resize them."
            )
        maps = self.stem(images)
        for stage in self.stages:
            maps = stage(maps)
        return self.head(self.norm(maps.mean(dim=(2, 3))))

    def token_layout(self) -> dict[str, object]:
        """Rows and columns of the last map, which is what the head reads; earlier layers see windows of finer ones."""
        rows, columns = self.grids[-1]
        return {"rows": rows, "columns": columns, "prefix": (), "readout": "mean", "order": "windows"}


def _normalised(convolution: nn.Conv2d) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return convolution, nn.BatchNorm2d(convolution.out_channels)


def _stem(patch_size: int, embed_dim: int) -> nn.Sequential:
    """Convolutions that halve the image, each with twice the channels of the one before; the last is not bent."""
    halvings = patch_size.bit_length() - 1
    widths = [3, *(embed_dim >> (halvings - step) for step in range(1, halvings + 1))]
    layers: list[nn.Module] = []
    for channels, wider in pairwise(widths):
        convolution = nn.Conv2d(channels, wider, 3, stride=2, padding=1, bias=False)
        layers += [*_normalised(convolution), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _neighbours(dim: int) -> Residual:
    """Every channel looks at the 3 x 3 cells around."""
    return Residual(nn.Sequential(*_normalised(nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False))))


def _mlp(dim: int) -> Residual:
    """Every cell thinks for itself."""
    widen, narrow = nn.Conv2d(dim, 2 * dim, 1, bias=False), nn.Conv2d(2 * dim, dim, 1, bias=False)
    return Residual(nn.Sequential(*_normalised(widen), nn.ReLU(), *_normalised(narrow)))


def _between(dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(
        _neighbours(dim), _mlp(dim), PatchMerging(dim, out_dim), _neighbours(out_dim), _mlp(out_dim)
    )


def _block(
    grid: Grid, window: int, sizes: tuple[int, int, int], kernel_sizes: Sequence[int]
) -> nn.Sequential:
    dim = sizes[0]
    attends = Residual(WindowedCascade(grid, window, sizes, kernel_sizes))
    return nn.Sequential(_neighbours(dim), _mlp(dim), attends, _neighbours(dim), _mlp(dim))


def _check(
    height: int,
    width: int,
    patch_size: int,
    embed_dims: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    kernel_sizes: Sequence[int],
) -> None:
    if patch_size < 2 or patch_size & (patch_size - 1):
        raise ValueError(f"patch_size must be a power of two, at least 2, but got {patch_size=}.")
    if height % patch_size or width % patch_size or min(height, width) < patch_size:
        raise ValueError(
            f"patch_size must divide image_size, but got image_size={(height, width)}, {patch_size=}; "
            "resize the images or choose another patch_size."
        )
    if not depths or not len(embed_dims) == len(depths) == len(num_heads) or min(depths) < 1:
        raise ValueError(
            "embed_dims, depths (from 1 on) and num_heads must have a number for each stage, but got "
            f"{embed_dims=}, {depths=}, {num_heads=}."
        )
    if embed_dims[0] * 2 < patch_size:
        raise ValueError(
            f"embed_dims must start with half of patch_size or more, since the stem halves them, but got "
            f"{embed_dims=}, {patch_size=}."
        )
    if max(num_heads) > len(kernel_sizes):
        raise ValueError(
            f"kernel_sizes must have a number for each of {max(num_heads)} heads, but got {kernel_sizes=}."
        )
