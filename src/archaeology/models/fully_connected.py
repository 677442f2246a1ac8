"""A fully connected network: every number of the answer may depend on every number of the input, and nothing is shared.

It has to learn each rule anew at each place, which is what the other models are measured against.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from archaeology.models.registry import models
from archaeology.models.signal import calm


@models.register("fully_connected")
class FullyConnected(nn.Module):
    """Signals or images in, the same shape out, by layers that connect all with all."""

    def __init__(self, shape: Sequence[int], *, widths: Sequence[int] = (224, 224, 224)) -> None:
        """Build with fresh weights; the first answers are near zero.

        Args:
            shape: Of one sample: `(length,)`, or `(channel, height, width)`.
            widths: Features of each hidden layer.

        Raises:
            ValueError: If there is no hidden layer, or a size is not positive.
        """
        super().__init__()
        if not shape or not widths or min(*shape, *widths) < 1:
            raise ValueError(
                "shape and widths must hold at least one positive size each, but got "
                f"shape={tuple(shape)}, widths={tuple(widths)}."
            )
        self.shape = tuple(shape)
        size = prod(shape)
        linear = [nn.Linear(*sizes) for sizes in pairwise((size, *widths))]
        for layer in linear:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # else what is said fades on the way
        self.layers = nn.Sequential(*(part for layer in linear for part in (layer, nn.GELU())))
        self.head = nn.Linear(widths[-1], size)
        calm(self.head)

    def forward(self, samples: Float[Tensor, "batch first *others"]) -> Float[Tensor, "batch first *others"]:
        """The samples redrawn.

        Raises:
            ValueError: If they have another shape than the model was built for.
        """
        if tuple(samples.shape[1:]) != self.shape:
            raise ValueError(
                f"samples must have the shape {self.shape}, but got {tuple(samples.shape[1:])}; build the model "
                "with that shape."
            )
        return self.head(self.layers(samples.flatten(1))).unflatten(1, self.shape)
