"""The two ways a model multiplies a pattern with values: one fused call, or a product of its own.

Both answer the same questions (`pattern`, `value`, `as_is`, `with_pattern`), so reading, differentiating and editing
are written once, in the interceptor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.attention import Route, Rows
from archaeology.capture.contraction import Contraction, contraction, einsum_axes, matmul_axes


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

    def pattern(self, rows: Rows = None) -> Tensor:
        """The pattern, in our order and at least float32; part of the autograd graph where one is recorded."""
        ...

    def value(self) -> Tensor:
        """The values, in our order."""
        ...

    def product(self) -> Tensor:
        """Pattern times values as the model itself computes it, in the model's own order."""
        ...

    def with_pattern(self, pattern: Tensor) -> Tensor:
        """The same product with another pattern (in our order), in the model's own order."""
        ...

    def finish(self, product: Tensor) -> Tensor:
        """What the model's call returns, given that product."""
        ...


def _exact(tensor: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclass(frozen=True, eq=False)
class FusedCall:
    """A call of `F.scaled_dot_product_attention`, with the names of its arguments."""

    query: Tensor
    key: Tensor
    value_tensor: Tensor
    mask: Tensor | None
    dropout: float
    is_causal: bool
    scale: float
    axes: Contraction
    run: Callable[[], Tensor]
    route: Route = "sdpa"

    def pattern(self, rows: Rows = None) -> Float[Tensor, "batch head query key"]:
        """Probabilities recomputed from queries, keys, mask and scale."""
        with torch.autocast(self.query.device.type, enabled=False):
            return self.axes.pattern_of(
                probabilities(
                    _exact(self.query),
                    _exact(self.key),
                    mask=self.mask,
                    is_causal=self.is_causal,
                    scale=self.scale,
                    rows=rows,
                )
            )

    def value(self) -> Float[Tensor, "batch head key dim"]:
        """The values, repeated for the heads that share them."""
        return self.axes.value_of(self.value_tensor)

    def product(self) -> Tensor:
        """PyTorch's own fused attention."""
        return self.run()

    def with_pattern(self, pattern: Float[Tensor, "batch head query key"]) -> Tensor:
        """Dropout and product as the fused call would do them."""
        value = self.value_tensor
        with torch.autocast(value.device.type, enabled=False):
            weights = self.axes.pattern_back(pattern)
            weights = F.dropout(weights, self.dropout) if self.dropout > 0 else weights
            return (weights @ value.to(weights.dtype)).to(value.dtype)

    def finish(self, product: Tensor) -> Tensor:
        """The product itself."""
        return product


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
        pattern = _exact(self.axes.pattern_of(self.operands[self.position]))
        return pattern if rows is None else pattern[:, :, rows]

    def value(self) -> Float[Tensor, "batch head key dim"]:
        """The other operand."""
        return self.axes.value_of(self.operands[1 - self.position])

    def product(self) -> Tensor:
        """The product alone; for a `baddbmm`, without what it adds."""
        return self._multiply(self.operands) if self.addend else self.run()

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


def probabilities(
    query: Float[Tensor, "... query dim"],
    key: Float[Tensor, "... key dim"],
    *,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
    rows: Rows = None,
) -> Float[Tensor, "... query key"]:
    """softmax(scale * Q K^T + mask), for the `rows` (queries) asked; a row that may see nothing is all zero.

    Args:
        query: Queries.
        key: Keys, already repeated for the heads that share them.
        mask: True where a query may look (or a number to add to the scores), as in SDPA.
        is_causal: Whether query i sees keys 0 to i only.
        scale: Factor of the scores.
        rows: Indices or slice of queries; all if None.
    """
    if is_causal:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if rows is not None:
        query = query[..., rows, :]
        mask = mask[..., rows, :] if mask is not None and mask.shape[-2] != 1 else mask
    scores = (query * scale) @ key.transpose(-2, -1)
    if mask is None:
        return scores.softmax(-1)
    scores = (
        scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
    )
    blind = scores.amax(-1, keepdim=True) == -torch.inf
    return scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)


def fused_call(
    run: Callable[[], Tensor],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    *,
    num_images: int | None,
    num_heads: int | None,
) -> FusedCall:
    """Read the arguments of `F.scaled_dot_product_attention`."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = dict(zip(names, arguments, strict=False)) | keywords
    query, key, value = given["query"], given["key"], given["value"]
    if given.get("enable_gqa"):
        shared = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(shared, -3), value.repeat_interleave(shared, -3)
    mask = given.get("attn_mask")
    lead = max(query.ndim, key.ndim, value.ndim)
    pattern_axes, value_axes, output_axes = matmul_axes(lead, lead)
    sizes = _sizes(
        (pattern_axes[:-1], query.shape[:-1]), (value_axes[:-1], key.shape[:-1]), (value_axes, value.shape)
    )
    axes = contraction(
        pattern_axes, value_axes, output_axes, sizes, query="i", num_images=num_images, num_heads=num_heads
    )
    assert axes is not None
    return FusedCall(
        query=query,
        key=key,
        value_tensor=value,
        mask=mask,
        dropout=given.get("dropout_p") or 0.0,
        is_causal=bool(given.get("is_causal")),
        scale=1 / sqrt(query.shape[-1]) if given.get("scale") is None else float(given["scale"]),
        axes=axes,
        run=run,
    )


@dataclass(frozen=True, eq=False)
class Product:
    """A matmul, bmm, baddbmm or einsum of two tensors, with letters for their axes."""

    operands: tuple[Tensor, Tensor]
    axes: tuple[str, str, str]
    equation: str | None = None
    addend: tuple[Tensor, float, float] | None = None

    def sizes(self) -> dict[str, int]:
        """Size of each letter."""
        left, right = self.operands
        return _sizes((self.axes[0], left.shape), (self.axes[1], right.shape))

    def call(
        self, position: int, run: Callable[[], Tensor], *, num_images: int | None, num_heads: int | None
    ) -> ProductCall | None:
        """The product as one of a pattern (operand number `position`) with values, if it can be read so."""
        query = None if self.equation else ("i" if position == 0 else "k")
        axes = contraction(
            self.axes[position],
            self.axes[1 - position],
            self.axes[2],
            self.sizes(),
            query=query,
            num_images=num_images,
            num_heads=num_heads,
        )
        if axes is None:
            return None
        return ProductCall(self.operands, position, self.equation, axes, run, self.addend)


def product_of(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Product | None:
    """Read the arguments of the product called `name`; None where it is none of two tensors with two axes or more."""
    if name == "einsum":
        operands = tuple(arguments[1]) if isinstance(arguments[1], list | tuple) else arguments[1:]
        if not isinstance(arguments[0], str) or len(operands) != 2:
            return None
        axes = einsum_axes(arguments[0], [operand.ndim for operand in operands])
        return None if axes is None else Product((operands[0], operands[1]), axes, arguments[0])
    tensors = [thing for thing in (*arguments, *keywords.values()) if isinstance(thing, Tensor)]
    addend = None
    if name == "baddbmm":
        addend = (tensors.pop(0), keywords.get("beta", 1), keywords.get("alpha", 1))
    if len(tensors) != 2 or min(tensor.ndim for tensor in tensors) < 2:
        return None
    left, right = reversed(tensors) if name == "__rmatmul__" else tensors
    return Product((left, right), matmul_axes(left.ndim, right.ndim), addend=addend)


def _sizes(*parts: tuple[str, torch.Size]) -> dict[str, int]:
    """Size of each letter; where two tensors disagree, one of them is 1 and is spread out."""
    sizes: dict[str, int] = {}
    for axes, shape in parts:
        for letter, size in zip(axes[len(axes) - len(shape) :], shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return sizes
