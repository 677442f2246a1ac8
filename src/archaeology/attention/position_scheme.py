"""Ways to tell attention where tokens lie, by name: some are added once to the tokens, others act in every layer.

`position_scheme("rotary", shape)` gives both places to a model, of which one is empty: the module that adds features
before the first layer, and what to build every `MultiHeadAttention(positions=...)` with. A shape with a grid asks for
positions in two dimensions, one without for those in a sequence.
"""

from collections.abc import Callable
from dataclasses import dataclass

from archaeology.attention.alibi import Alibi, GridAlibi
from archaeology.attention.biases import Bias
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.positions import POSITIONS, GridPositions, SequencePositions
from archaeology.attention.relative_bias import GridBias, RelativeBias
from archaeology.attention.rotary import AxialRotary, Rotary, Rotation
from archaeology.core.registry import unknown_name

Inside = Callable[[LayerShape], Rotation | Bias]


@dataclass(frozen=True)
class PositionScheme:
    """Where positions come in.

    Attributes:
        added: Adds features to tokens that have a place, before prefix tokens are put in front; adds nothing where
            positions act inside attention.
        inside: Makes what one layer's attention takes as `positions`: None where positions are added. Called once
            per layer, so that every layer learns numbers of its own.
    """

    added: GridPositions | SequencePositions
    inside: Callable[[], Rotation | Bias | None]


def position_scheme(name: str, shape: LayerShape) -> PositionScheme:
    """The scheme called `name`, for layers of this shape.

    Raises:
        UnknownNameError: If there is none.
        ValueError: If the shape lacks a length that the scheme needs, or its sizes do not suit.
    """
    if name not in SCHEMES:
        raise unknown_name("position scheme", name, list(SCHEMES))
    kind = name if name in POSITIONS else "none"
    embed_dim = shape.num_heads * shape.head_dim
    if shape.grid is not None:
        added = GridPositions(kind, *shape.grid, embed_dim)
    else:
        added = SequencePositions(kind, 1 if kind == "none" else _length(name, shape), embed_dim)
    if name in POSITIONS:
        return PositionScheme(added, lambda: None)
    inside_positions(name, shape)  # what is wrong with the sizes is said now
    return PositionScheme(added, lambda: inside_positions(name, shape))


def inside_positions(name: str, shape: LayerShape) -> Rotation | Bias:
    """The positions called `name` that act inside attention, for one layer of this shape.

    Raises:
        UnknownNameError: If there are none.
        ValueError: If they are added to the tokens instead, or the sizes of the shape do not suit.
    """
    if name in POSITIONS:
        raise ValueError(
            f"positions of a layer must be one of {', '.join(INSIDE)}, but got {name!r}, which is added to the "
            "tokens before the first layer; use position_scheme(...).added for that."
        )
    if name not in INSIDE:
        raise unknown_name("position scheme", name, list(INSIDE))
    return INSIDE[name](shape)


def _length(name: str, shape: LayerShape) -> int:
    if shape.num_tokens is None:
        raise ValueError(f"{name} positions need to know the longest sequence, but got num_tokens=None.")
    return shape.num_tokens


def _rotary(shape: LayerShape) -> Rotary | AxialRotary:
    if shape.grid is None:
        return Rotary(shape.head_dim)
    return AxialRotary(shape.head_dim, shape.grid, shape.num_prefix)


def _alibi(shape: LayerShape) -> Alibi | GridAlibi:
    if shape.grid is None:
        return Alibi(shape.num_heads)
    return GridAlibi(shape.num_heads, shape.grid, shape.num_prefix)


def _relative_bias(shape: LayerShape) -> RelativeBias | GridBias:
    if shape.grid is None:
        return RelativeBias(shape.num_heads, _length("relative_bias", shape) - 1)
    return GridBias(shape.num_heads, shape.grid, num_prefix=shape.num_prefix)


INSIDE: dict[str, Inside] = {"rotary": _rotary, "alibi": _alibi, "relative_bias": _relative_bias}
SCHEMES = (*POSITIONS, *INSIDE)
