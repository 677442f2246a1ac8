"""`F.scaled_dot_product_attention` shows no pattern, but was given all it takes to compute one."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.attention import Factors, Route, Rows
from archaeology.capture.calls import exact
from archaeology.capture.contraction import Contraction, Hints, contraction, letter_sizes, matmul_axes


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
                    exact(self.query),
                    exact(self.key),
                    mask=self.mask,
                    is_causal=self.is_causal,
                    scale=self.scale,
                    rows=rows,
                )
            )

    def value(self) -> Float[Tensor, "batch head key dim"]:
        """The values, repeated for the heads that share them."""
        return self.axes.value_of(self.value_tensor)

    def factors(self) -> Factors | None:
        """Queries and keys; None where a mask says more than they do."""
        if self.mask is not None or self.is_causal:
            return None
        query, key = self.axes.output_of(exact(self.query)), self.axes.value_of(exact(self.key))
        return Factors(query, key, self.scale)

    @property
    def device(self) -> torch.device:
        """Where the queries are."""
        return self.query.device

    def as_is(self) -> Tensor:
        """PyTorch's own fused attention."""
        return self.run()

    def product(self, result: Tensor) -> Tensor:
        """The result itself."""
        return result

    def with_pattern(self, pattern: Float[Tensor, "batch head query key"]) -> Tensor:
        """Dropout and product as the fused call would do them."""
        value = self.value_tensor
        with torch.autocast(value.device.type, enabled=False):
            weights = self.axes.pattern_back(pattern).to(exact(value).dtype)
            weights = F.dropout(weights, self.dropout) if self.dropout > 0 else weights
            return (weights @ value.to(weights.dtype)).to(value.dtype)

    def finish(self, product: Tensor) -> Tensor:
        """The product itself."""
        return product


def probabilities(
    query: Float[Tensor, "... query dim"],
    key: Float[Tensor, "... key dim"],
    *,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
    rows: Rows = None,
) -> Float[Tensor, "... row key"]:
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
        if mask is not None and mask.ndim > 1 and mask.shape[-2] != 1:
            mask = mask[..., rows, :]
    scores = (query * scale) @ key.transpose(-2, -1)
    if mask is None:
        return scores.softmax(-1)
    scores = (
        scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
    )
    blind = scores.amax(-1, keepdim=True) == -torch.inf
    return scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)


def fused_call(
    run: Callable[[], Tensor], arguments: tuple[Any, ...], keywords: dict[str, Any], hints: Hints
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
    sizes = letter_sizes(
        (pattern_axes[:-1], query.shape[:-1]), (value_axes[:-1], key.shape[:-1]), (value_axes, value.shape)
    )
    axes = contraction(pattern_axes, value_axes, output_axes, sizes, hints, query="i")
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
