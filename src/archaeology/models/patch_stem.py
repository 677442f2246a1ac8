"""From an image to one token for each patch: by one linear map, or by a few convolutions that look over the edges.

A linear map sees colours and coarse shape; whether an outline is round or square it can hardly tell. A few strided
convolutions (`xiao2021early`) can, cost no more, and let patches overlap. Differs: no normalisation, windows of twice
the stride.
"""

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.shapes import Image

Tokens = Float[Tensor, "batch token embed"]
STEMS = ("convolutional", "linear")


class LinearPatches(nn.Module):
    """Every patch by itself, all its pixels through one linear map."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.project = nn.Linear(3 * patch_size**2, embed_dim)

    def forward(self, images: Image) -> Tokens:
        """Tokens of patches, row by row."""
        patches = rearrange(
            images,
            "batch channel (row height) (column width) -> batch (row column) (channel height width)",
            height=self.patch_size,
            width=self.patch_size,
        )
        return self.project(patches)


class ConvolutionalPatches(nn.Module):
    """Strided convolutions, four pixels and then two at a time, until one place is left for each patch."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        """For patches of this side.

        Raises:
            ValueError: If it is no power of two, at least 4.
        """
        super().__init__()
        if patch_size < 4 or patch_size & (patch_size - 1):
            raise ValueError(
                f"convolutions make patches whose side is a power of two, at least 4, but got {patch_size=}; choose "
                "such a side, or stem='linear'."
            )
        halvings = patch_size.bit_length() - 3
        widths = [max(8, embed_dim >> (halvings - step)) for step in range(halvings)] + [embed_dim]
        first = nn.Conv2d(3, widths[0], 8, stride=4, padding=2)
        nn.init.normal_(first.weight, std=0.1)  # pixels are 0 to 1 and mostly dark: tokens start large enough
        rest = [nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise(widths)]
        self.convolutions = nn.ModuleList([first, *rest])
        self.activation = nn.GELU()
        self.project = nn.Linear(embed_dim, embed_dim)

    def forward(self, images: Image) -> Tokens:
        """Tokens of patches, row by row."""
        maps = images.contiguous(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            maps = self.activation(convolution(maps))
        return self.project(maps.flatten(2).transpose(1, 2))


def patch_stem(kind: str, patch_size: int, embed_dim: int) -> LinearPatches | ConvolutionalPatches:
    """The stem called `kind`.

    Raises:
        ValueError: If there is none, or it cannot make such patches.
    """
    if kind not in STEMS:
        raise ValueError(f"stem must be one of {', '.join(STEMS)}, but got {kind!r}.")
    maker = ConvolutionalPatches if kind == "convolutional" else LinearPatches
    return maker(patch_size, embed_dim)
