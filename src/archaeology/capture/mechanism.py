"""A mechanism of ours hides what it does inside, windows or random features, but can say which pattern it implies.

So a capture sees the mechanism as one call, and asks it (`Mechanism.pattern`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.mechanism import Mechanism
from archaeology.capture.attention import Factors, Route, Rows
from archaeology.capture.calls import exact
from archaeology.capture.contraction import Contraction


@dataclass(frozen=True, eq=False)
class MechanismCall:
    """A call of `Mechanism.forward`."""

    mechanism: Mechanism
    query: Tensor
    key: Tensor
    value_tensor: Tensor
    given: Mapping[str, Any]
    axes: Contraction
    run: Callable[[], Tensor]
    route: Route = "mechanism"

    def pattern(self, rows: Rows = None) -> Float[Tensor, "batch head query key"]:
        """What the mechanism says it implies."""
        if isinstance(rows, slice):
            rows = torch.arange(self.query.shape[2], device=self.device)[rows]
        with torch.autocast(self.device.type, enabled=False):
            return exact(self.mechanism.pattern(self.query, self.key, rows=rows, **self.given))

    def value(self) -> Float[Tensor, "batch head key dim"]:
        """The values, repeated for the heads that share them."""
        return self.value_tensor

    def factors(self) -> Factors | None:
        """The mechanism alone knows what it makes of queries and keys."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the queries are."""
        return self.query.device

    def as_is(self) -> Tensor:
        """The mechanism's own way."""
        return self.run()

    def product(self, result: Tensor) -> Tensor:
        """The result itself."""
        return result

    def with_pattern(self, pattern: Float[Tensor, "batch head query key"]) -> Tensor:
        """Pattern times values."""
        with torch.autocast(self.device.type, enabled=False):
            return (pattern @ self.value_tensor.to(pattern.dtype)).to(self.value_tensor.dtype)

    def finish(self, product: Tensor) -> Tensor:
        """The product itself."""
        return product


def mechanism_call(
    run: Callable[[], Tensor], arguments: tuple[Any, ...], given: Mapping[str, Any]
) -> MechanismCall:
    """Read the arguments of `Mechanism.forward`, as it hands itself over."""
    mechanism, query, key, value = arguments
    batch, heads, queries, _ = query.shape
    repeated = value.repeat_interleave(heads // value.shape[1], dim=1) if value.shape[1] != heads else value
    sizes = {"a": batch, "b": heads, "i": queries, "j": key.shape[2], "k": value.shape[3]}
    axes = Contraction("abij", "abjk", "abik", "a", "b", "i", "j", "k", sizes, heads)
    return MechanismCall(mechanism, query, key, repeated, given, axes, run)
