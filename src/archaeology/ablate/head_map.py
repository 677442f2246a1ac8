"""The heads of a pass, and how numbers about them are laid out: layer by head."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.interceptor import intercepted
from archaeology.core.bootstrap import Intervals


@dataclass(frozen=True)
class Layer:
    """One attention layer of a pass.

    Attributes:
        module: Its dotted path.
        kind: Whether it looks at its own tokens ("token") or at others ("cross"), see `Attention.kind`.
        num_heads: How many heads it has.
    """

    module: str
    kind: Kind
    num_heads: int


@torch.no_grad()
def attention_layers(model: nn.Module, inputs: Tensor) -> tuple[Layer, ...]:
    """The attention layers that a pass of `inputs` goes through, in order.

    Raises:
        ValueError: If it goes through none.
    """
    layers: list[Layer] = []

    def see(attention: Attention) -> None:
        layers.append(Layer(attention.module, attention.kind, attention.shape[1]))

    with intercepted(model, see):
        model(inputs)
    if not layers:
        raise ValueError(f"model must have attention to look at, but {type(model).__name__} showed none.")
    return tuple(layers)


def head_map(layers: tuple[Layer, ...], found: Intervals) -> Intervals:
    """Numbers whose last axis is all heads, layer by layer, as `(..., layer, head)`; NaN beyond a layer's last head."""
    heads = np.array([layer.num_heads for layer in layers])
    there = np.arange(heads.max()) < heads[:, None]

    def laid_out(numbers: np.ndarray) -> np.ndarray:
        new = np.full((*numbers.shape[:-1], *there.shape), np.nan)
        new[..., there] = numbers
        return new

    return Intervals(laid_out(found.value), laid_out(found.low), laid_out(found.high), found.n, found.level)
