"""A layer of attention by one name, whether that names a mechanism or a whole layer."""

from collections.abc import Mapping
from typing import Any

from archaeology.attention.biases import Bias
from archaeology.attention.layers import Layer, layers
from archaeology.attention.mechanism import LayerShape, mechanisms
from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.rotary import Rotation
from archaeology.core.registry import unknown_name


def attention_layer(
    name: str,
    shape: LayerShape,
    *,
    positions: Rotation | Bias | None = None,
    options: Mapping[str, Any] | None = None,
    qkv_bias: bool = True,
) -> MultiHeadAttention | Layer:
    """A module from (batch, token, embed) to the same, with `pattern(tokens)`.

    Args:
        name: A registered mechanism, which gets a `MultiHeadAttention` around it, or a registered layer.
        shape: What the layer is for; its features are `num_heads * head_dim`.
        positions: As `MultiHeadAttention` takes them; whole layers have their own.
        options: What to build the mechanism or the layer with.
        qkv_bias: Whether queries, keys and values have a bias; whole layers decide that themselves.

    Raises:
        UnknownNameError: If there is neither a mechanism nor a layer of that name.
        ValueError: If it cannot be built for this shape, or with these positions, options or biases.
    """
    if name in mechanisms:
        return MultiHeadAttention(
            shape.num_heads * shape.head_dim,
            shape.num_heads,
            mechanism=name,
            options=options,
            positions=positions,
            num_tokens=shape.num_tokens,
            grid=shape.grid,
            num_prefix=shape.num_prefix,
            qkv_bias=qkv_bias,
        )
    if name not in layers:
        raise unknown_name("attention", name, [*mechanisms.names(), *layers.names()])
    if positions is not None:
        raise ValueError(
            f"{name} attention brings its own positions; choose positions that are added to the tokens, such as "
            "'sinusoidal' or 'none'."
        )
    if not qkv_bias:
        raise ValueError(
            f"{name} attention brings its own projections, but got qkv_bias=False; leave it out."
        )
    try:
        return layers.get(name).build(shape, **(options or {}))
    except TypeError as error:
        raise ValueError(f"{name} attention cannot be built with {dict(options or {})}: {error}.") from error
