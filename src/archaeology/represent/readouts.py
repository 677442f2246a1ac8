"""How the tokens of a layer become one vector for an image: the class token, the mean of patches, or several.

A map of a convolutional network is a row of places, one token for each, without tokens before them. Each readout is a
pure function of a layer's tokens, so the same ones serve blocks, stages and windows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.specimens.specimen import Specimen

Readout = Callable[["Tokens"], Float[Tensor, "batch feature"]]
readouts: Registry[Readout] = Registry("readout")


@dataclass(frozen=True, eq=False)
class Tokens:
    """What a layer says of every place of some images.

    Attributes:
        prefix: Tokens that belong to no place; none of them in most layers.
        patches: Places, row by row.
        names: Of the tokens in front, such as `("class", "register")`.
        grid: Rows and columns of places; None where they are not known to lie on a grid.
        layer: Module path, for messages.
    """

    prefix: Float[Tensor, "batch front embed"]
    patches: Float[Tensor, "batch place embed"]
    names: tuple[str, ...]
    grid: tuple[int, int] | None
    layer: str


def tokens_of(specimen: Specimen, layer: str, output: Tensor) -> Tokens:
    """What a module returned, taken apart into tokens by the specimen's layout.

    Args:
        specimen: The model.
        layer: Module path.
        output: `(batch, token, feature)`, a map `(batch, channel, row, column)`, or channels last in a transformer.

    Raises:
        ValueError: If it has another shape, or another number of tokens than the layout declares.
    """
    layout = specimen.layout
    if output.ndim == 4:
        maps = output if _is_channels_last(specimen, output) else output.movedim(1, -1)
        return Tokens(
            output.new_zeros(len(output), 0, maps.shape[-1]), maps.flatten(1, 2), (), _grid(maps), layer
        )
    if output.ndim == 2:
        return Tokens(output.new_zeros(len(output), 0, output.shape[-1]), output[:, None], (), None, layer)
    if output.ndim != 3:
        raise ValueError(
            f"a layer must return tokens (batch, token, feature) or a map (batch, channel, row, column), but {layer} "
            f"returned {tuple(output.shape)}; name another module."
        )
    count = output.shape[1]
    if layout is None or layout.order == "windows":
        return Tokens(output[:, :0], output, (), None, layer)
    if count not in (layout.num_patches, layout.num_tokens):
        layout.check(count, layer)
    front = count - layout.num_patches
    grid = (layout.rows, layout.columns)
    return Tokens(output[:, :front], output[:, front:], layout.prefix[:front], grid, layer)


def _is_channels_last(specimen: Specimen, output: Tensor) -> bool:
    """Whether a map of a transformer has its features last: the image's shape says which axes are rows and columns."""
    if specimen.kind != "transformer":
        return False
    height, width = specimen.image_size
    return abs(output.shape[1] * width - output.shape[2] * height) < max(height, width)


def _grid(maps: Tensor) -> tuple[int, int]:
    return maps.shape[1], maps.shape[2]


@readouts.register("class_token")
def class_token(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """The class token.

    Raises:
        ValueError: If the layer has none.
    """
    if "class" not in tokens.names:
        raise ValueError(
            f"readout 'class_token' needs a class token, but {tokens.layer} has "
            f"{', '.join(tokens.names) or 'only places'}; use 'mean_patches'."
        )
    return tokens.prefix[:, tokens.names.index("class")]


@readouts.register("mean_patches")
def mean_patches(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """The mean of the places."""
    return tokens.patches.mean(dim=1)


@readouts.register("class_and_mean")
def class_and_mean(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """The class token and the mean of the places, one after the other."""
    return torch.cat([class_token(tokens), mean_patches(tokens)], dim=1)


@readouts.register("mean_tokens")
def mean_tokens(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """The mean of all tokens, with class token and registers."""
    return torch.cat([tokens.prefix, tokens.patches], dim=1).mean(dim=1)


@readouts.register("registers")
def registers(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """The mean of the registers.

    Raises:
        ValueError: If the layer has none.
    """
    which = [place for place, name in enumerate(tokens.names) if name == "register"]
    if not which:
        raise ValueError(
            f"readout 'registers' needs registers, but {tokens.layer} has {', '.join(tokens.names) or 'only places'}; "
            "use 'mean_patches'."
        )
    return tokens.prefix[:, which].mean(dim=1)


@readouts.register("max_patches")
def max_patches(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """The largest value of each feature over the places, as some convolutional networks read them."""
    return tokens.patches.amax(dim=1)


@readouts.register("flat_patches")
def flat_patches(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """All places one after the other: where something is counts too."""
    return tokens.patches.flatten(1)


@readouts.register("flat_tokens")
def flat_tokens(tokens: Tokens) -> Float[Tensor, "batch feature"]:
    """All tokens one after the other, with class token and registers."""
    return torch.cat([tokens.prefix, tokens.patches], dim=1).flatten(1)
