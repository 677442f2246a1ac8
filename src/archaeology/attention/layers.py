"""Whole layers by name, for ideas that are more than a way to attend: they own their projections, or their cache.

A mechanism takes queries, keys and values; a layer takes tokens. Both say what they are by `facts` and what they can
do by `supports`, so that the table of the zoo lists them side by side.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.attention.mechanism import Ability, Facts, LayerShape
from archaeology.core.registry import Registry


class Layer(nn.Module, ABC):
    """From tokens (batch, token, embed) to the same.

    A subclass says what it can do (`supports`) and what it is (`facts`), as a `Mechanism` does.
    """

    supports: ClassVar[frozenset[Ability]]
    facts: ClassVar[Facts]

    @classmethod
    @abstractmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Layer":
        """For tokens of `num_heads * head_dim` features.

        Raises:
            ValueError: If the layer cannot be built for this shape.
        """

    @abstractmethod
    def pattern(
        self,
        tokens: Float[Tensor, "batch token embed"],
        *,
        rows: Int[Tensor, " row"] | None = None,
        heads: Int[Tensor, " asked"] | None = None,
    ) -> Float[Tensor, "batch asked row key"]:
        """Who looks at whom: the pattern of the asked rows and heads, computed beside the pass."""


layers: Registry[type[Layer]] = Registry("attention layer")
