"""What every product of a pattern with values can be asked, whichever way the model writes it.

So reading, differentiating and editing are written once, in the interceptor. The two ways: `FusedCall` and
`ProductCall`.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from archaeology.capture.attention import Factors, Route, Rows
from archaeology.capture.contraction import Contraction


@runtime_checkable
class Call(Protocol):
    """A product of a pattern with values, about to happen."""

    @property
    def route(self) -> Route:
        """Which way it is done."""
        ...

    @property
    def axes(self) -> Contraction:
        """Which axis is which."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it happens."""
        ...

    def pattern(self, rows: Rows = None) -> Tensor:
        """The pattern in our order, at least float32; in the autograd graph where one is recorded."""
        ...

    def value(self) -> Tensor:
        """The values, in our order."""
        ...

    def factors(self) -> Factors | None:
        """Queries, keys and scale, in our order and at least float32, where they alone make the pattern."""
        ...

    def as_is(self) -> Tensor:
        """Let the model's own call happen."""
        ...

    def product(self, result: Tensor) -> Tensor:
        """Pattern times values, in the model's own order, given what its call returned."""
        ...

    def with_pattern(self, pattern: Tensor) -> Tensor:
        """The same product with another pattern (in our order), in the model's own order."""
        ...

    def finish(self, product: Tensor) -> Tensor:
        """What the model's call would return, given that product."""
        ...


def exact(tensor: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
