"""A hybrid's first steps: a few convolutions in place of the one map that cuts patches, so that edges come first.

`xiao2021early`: 3 x 3 convolutions, each halving the map, normalised and bent, ever wider, and a 1 x 1 convolution at
the end. It makes training a transformer less touchy. Kernels, strides and widths may be chosen, for others' stems.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.shapes import Image
from archaeology.models.block import ACTIVATIONS

STEMS = ("linear", "convolutional")


class ConvolutionalStem(nn.Sequential):
    """From an image to one token for each patch, row by row; the last convolution is neither normalised nor bent."""

    def __init__(
        self,
        patch_size: int,
        embed_dim: int,
        *,
        kernels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        activation: str = "relu",
    ) -> None:
        """Build with fresh weights.

        Args:
            patch_size: Side of a patch; the strides multiply to it.
            embed_dim: Features of a token.
            kernels: Side of each convolution; where not given, 3, and 1 for the last.
            strides: Of each convolution; where not given, 2 as often as that halves a patch to a pixel, then 1.
            widths: Channels of all convolutions but the last; where not given, the last of them has embed_dim, and
                each one before half as many (at least 8).
            activation: "relu", "gelu" or "silu".

        Raises:
            ValueError: If the numbers do not fit together.
        """
        strides = halvings(patch_size) if strides is None else strides
        count = len(strides)
        kernels = (3,) * (count - 1) + (1,) if kernels is None else kernels
        widths = (
            [max(8, embed_dim >> later) for later in reversed(range(count - 1))] if widths is None else widths
        )
        if not count or prod(strides) != patch_size or len(kernels) != count or len(widths) != count - 1:
            raise ValueError(
                "a convolutional stem needs strides that multiply to patch_size, as many kernels, and one width "
                f"fewer, but got {patch_size=}, strides={list(strides)}, kernels={list(kernels)}, "
                f"widths={list(widths)}."
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, but got {activation!r}.")
        channels = (3, *widths)
        parts: list[nn.Module] = []
        for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            is_last = number == count - 1
            width = embed_dim if is_last else widths[number]
            padding = (kernel - stride + 1) // 2
            parts.append(nn.Conv2d(channels[number], width, kernel, stride, padding, bias=is_last))
            if not is_last:
                parts += [nn.BatchNorm2d(width), ACTIVATIONS[activation]()]
        super().__init__(*parts)

    def forward(self, images: Image) -> Float[Tensor, "batch token embed"]:
        """Tokens of normalised images."""
        return super().forward(images).flatten(2).transpose(1, 2)


def halvings(patch_size: int) -> list[int]:
    """Strides 2, 2, ..., 1 that make a pixel of a patch.

    Raises:
        ValueError: If its side is no power of two, at least 2.
    """
    if patch_size < 2 or patch_size & (patch_size - 1):
        raise ValueError(
            f"a convolutional stem halves patches, whose side must be a power of two, but got {patch_size=}; choose "
            "such a side, or stem='linear'."
        )
    return [2] * (patch_size.bit_length() - 1) + [1]


def stem_of(
    kind: str, patch_size: int, embed_dim: int, options: Mapping[str, Any] | None
) -> nn.Linear | ConvolutionalStem:
    """What makes tokens of patches, by name.

    Raises:
        ValueError: If there is none of that name, or it takes no such options.
    """
    if kind not in STEMS:
        raise ValueError(f"stem must be one of {', '.join(STEMS)}, but got {kind!r}.")
    if kind == "linear":
        if options:
            raise ValueError(f"a linear stem takes no options, but got {', '.join(options)}.")
        return nn.Linear(3 * patch_size**2, embed_dim)
    try:
        return ConvolutionalStem(patch_size, embed_dim, **(options or {}))
    except TypeError as error:
        raise ValueError(
            f"a convolutional stem cannot be built with {dict(options or {})}: {error}."
        ) from error
