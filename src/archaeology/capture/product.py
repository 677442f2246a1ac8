"""A model that calls `softmax` itself multiplies the result with values, by matmul, bmm or einsum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.attention import Factors, Route, Rows
from archaeology.capture.calls import exact
from archaeology.capture.contraction import (
    Contraction,
    Hints,
    contraction,
    einsum_axes,
    letter_sizes,
    matmul_axes,
)


@dataclass(frozen=True, eq=False)
class ProductCall:
    """A matmul, bmm, baddbmm or einsum of a softmax's result with values."""

    operands: tuple[Tensor, Tensor]
    position: int
    equation: str | None
    axes: Contraction
    run: Callable[[], Tensor]
    addend: tuple[Tensor, float, float] | None = None
    route: Route = "softmax"

    def pattern(self, rows: Rows = None) -> Float[Tensor, "batch head query key"]:
        """The operand that came from the softmax."""
        pattern = exact(self.axes.pattern_of(self.operands[self.position]))
        return pattern if rows is None else pattern[:, :, rows]

    def value(self) -> Float[Tensor, "batch head key dim"]:
        """The other operand."""
        return self.axes.value_of(self.operands[1 - self.position])

    def factors(self) -> Factors | None:
        """Queries and keys were multiplied before anybody looked."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the operands are."""
        return self.operands[0].device

    def as_is(self) -> Tensor:
        """The model's own product."""
        return self.run()

    def product(self, result: Tensor) -> Tensor:
        """The result itself; for a `baddbmm`, what it was before the addition."""
        return self._multiply(self.operands) if self.addend else result

    def with_pattern(self, pattern: Float[Tensor, "batch head query key"]) -> Tensor:
        """The model's product with its pattern exchanged."""
        mine = self.axes.pattern_back(pattern).to(self.operands[self.position].dtype)
        other = self.operands[1 - self.position]
        return self._multiply((mine, other) if self.position == 0 else (other, mine))

    def finish(self, product: Tensor) -> Tensor:
        """The product, plus what a `baddbmm` adds."""
        if self.addend is None:
            return product
        added, beta, alpha = self.addend
        return beta * added + alpha * product

    def _multiply(self, operands: tuple[Tensor, Tensor]) -> Tensor:
        return torch.einsum(self.equation, *operands) if self.equation else torch.matmul(*operands)


@dataclass(frozen=True, eq=False)
class Product:
    """A matmul, bmm, baddbmm or einsum of two tensors, with letters for their axes."""

    operands: tuple[Tensor, Tensor]
    axes: tuple[str, str, str]
    equation: str | None = None
    addend: tuple[Tensor, float, float] | None = None

    def letter_kept(self, position: int, axis: int | None) -> int | None:
        """Where an axis of operand number `position` is in the product; None if it is summed over."""
        if axis is None:
            return None
        letter = self.axes[position][-self.operands[position].ndim :][axis]
        return self.axes[2].index(letter) if letter in self.axes[2] else None

    def sizes(self) -> dict[str, int]:
        """Size of each letter."""
        left, right = self.operands
        return letter_sizes((self.axes[0], left.shape), (self.axes[1], right.shape))

    def call(self, position: int, run: Callable[[], Tensor], hints: Hints) -> ProductCall | None:
        """The product as one of a pattern (operand number `position`) with values, if it can be read so."""
        pattern, value, output = self.axes[position], self.axes[1 - position], self.axes[2]
        query = None if self.equation else ("i" if position == 0 else "k")
        axes = contraction(pattern, value, output, self.sizes(), hints, query=query)
        if axes is None:
            return None
        return ProductCall(self.operands, position, self.equation, axes, run, self.addend)


def product_of(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Product | None:
    """Read the arguments of the product called `name`; None where it is not of two (stacks of) matrices."""
    if name == "einsum":
        operands = tuple(arguments[1]) if isinstance(arguments[1], list | tuple) else arguments[1:]
        if not isinstance(arguments[0], str) or len(operands) != 2:
            return None
        axes = einsum_axes(arguments[0], [operand.ndim for operand in operands])
        return None if axes is None else Product((operands[0], operands[1]), axes, arguments[0])
    tensors = [thing for thing in (*arguments, *keywords.values()) if isinstance(thing, Tensor)]
    addend = None
    if name == "baddbmm":
        addend = (tensors.pop(0), float(keywords.get("beta", 1)), float(keywords.get("alpha", 1)))
    if len(tensors) != 2 or min(tensor.ndim for tensor in tensors) < 2:
        return None
    left, right = reversed(tensors) if name == "__rmatmul__" else tensors
    return Product((left, right), matmul_axes(left.ndim, right.ndim), addend=addend)
