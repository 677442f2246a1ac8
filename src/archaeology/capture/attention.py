"""One attention, caught in the act: which module, which tokens looked at which, with what weight.

An `Attention` is handed to the caller while the model runs. It holds the model's own tensors, so ask it for
what you need (`pattern(rows)`) and let it go: what is kept is memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.contraction import Hints

Kind = Literal["token", "window", "pool", "channel", "cross"]
Route = Literal["sdpa", "softmax", "mechanism"]
Rows = Tensor | slice | None

FEW_QUERIES = 8


@dataclass(frozen=True, eq=False)
class Factors:
    """What a pattern is made of where nothing else goes into it: `softmax(scale * query @ key^T)`, no mask, no bias.

    Scores tell logarithms of weights without taking any: `log p = score - log(sum of exp(scores))`.

    Attributes:
        query: Queries; float32 for models in half precision.
        key: Keys, repeated for the heads that share them; likewise.
        scale: Factor of the scores.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch head key dim"]
    scale: float

    @torch.no_grad()
    def scores(self, rows: slice) -> Float[Tensor, "batch head row key"]:
        """`scale * query @ key^T` of some queries; the softmax over keys is the pattern."""
        with torch.autocast(self.query.device.type, enabled=False):
            return (self.query[:, :, rows] * self.scale) @ self.key.transpose(-2, -1)


@dataclass(frozen=True, eq=False)
class Attention:
    """A softmax attention seen in a forward pass.

    Attributes:
        index: Number in the pass, from 0. A pass is one outermost call of the model or of a part of it.
        module: Dotted path of the innermost module that ran it.
        route: "sdpa" where PyTorch's fused attention did it, "softmax" where the model multiplied by itself,
            "mechanism" where one of `archaeology.attention` did.
        kind: "token" (all tokens look at each other), "window" (several groups of tokens per image, laid into
            the batch), "pool" (few queries, such as class attention), "cross" (other tokens look than are
            looked at), "channel" (features of a head look at each other).
        shape: Batch, head, query, key. For windows, batch is images times windows, image by image.
        normalised: Whether rows of the pattern must sum to one: False where the model changes its pattern
            after the softmax, as talking heads do. (A query that may look nowhere has a row of zeros.)
    """

    index: int
    module: str
    route: Route
    kind: Kind
    shape: tuple[int, int, int, int]
    normalised: bool
    compute_pattern: Callable[[Rows], Tensor] = field(repr=False)
    compute_value: Callable[[], Tensor] = field(repr=False)
    compute_output: Callable[[], Tensor] = field(repr=False)
    compute_factors: Callable[[], Factors | None] = field(repr=False)

    def pattern(self, rows: Rows = None) -> Float[Tensor, "batch head query key"]:
        """How much each query attends to each key, computed now; float32 for models in half precision.

        On the softmax route this is what multiplied the values: after talking heads and the like, and in
        training after dropout. Part of the autograd graph only where `intercepted` materialises.

        Args:
            rows: Indices or slice of queries; all of them if None.
        """
        return self.compute_pattern(rows)

    @property
    def value(self) -> Float[Tensor, "batch head key dim"]:
        """What the pattern averages; repeated where heads share it."""
        return self.compute_value()

    @property
    def factors(self) -> Factors | None:
        """Queries, keys and scale; None where the route hides them or the pattern is not theirs alone.

        So on the softmax route, for mechanisms of ours, with a mask or a bias, and where the pattern was
        materialised or edited.
        """
        return self.compute_factors()

    @property
    def output(self) -> Float[Tensor, "batch head query dim"]:
        """What each head answered (pattern times value), as the model goes on with it, edits included."""
        return self.compute_output()


def kind_of(shape: tuple[int, int, int, int], num_features: int, hints: Hints) -> Kind:
    """Tell the kinds of attention apart by shapes alone.

    So an attention to as many other tokens as there are own ones is taken for "token"; a layer of ours that was built
    for cross-attention says so itself, and is not asked this way.

    Args:
        shape: Batch, head, query, key.
        num_features: Of the values.
        hints: What is known of the pass and the module.
    """
    batch, heads, queries, keys = shape
    if queries == keys and _looks_across_channels(heads, keys, num_features, hints.module_input):
        return "channel"
    has_windows = bool(hints.num_images) and batch > hints.num_images and batch % hints.num_images == 0
    if queries != keys:
        return "pool" if queries <= min(FEW_QUERIES, keys) and not has_windows else "cross"
    return "window" if has_windows else "token"


def _looks_across_channels(heads: int, keys: int, num_features: int, module_input: tuple[int, ...]) -> bool:
    """Whether heads x keys make up a token's features, while the values are as long as there are tokens."""
    readings: list[tuple[int, int]] = []  # (tokens, features)
    if len(module_input) == 3:
        readings = [(module_input[1], module_input[2])]
    elif len(module_input) == 4:
        _, one, two, three = module_input
        readings = [(two * three, one), (one * two, three)]
    across = any(num_features == tokens and heads * keys == features for tokens, features in readings)
    along = any(keys == tokens and heads * num_features == features for tokens, features in readings)
    return across and not along
