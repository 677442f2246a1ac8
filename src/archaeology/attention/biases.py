"""A bias is a number added to the score of a query and a key: nearness, say, as a preference and not as a rule.

Like a mask it is asked for pairs at absolute positions, so a kernel that looks at few pairs computes few numbers.
Anything with a method `scores` will do, a module with learned numbers too; a tensor becomes one by `as_bias`.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

Index = Int[Tensor, "..."]


@runtime_checkable
class Bias(Protocol):
    """Numbers added to the scaled scores.

    A bias with an attribute `by_distance` that is true says that nothing but `query - key` counts, so that a window
    can be given its numbers once for all places.
    """

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The number of each pair; indices broadcast against one another, the answer may leave axes at 1."""
        ...


class DenseBias:
    """Any matrix of numbers."""

    def __init__(self, matrix: Float[Tensor, "batch head query key"], query_offset: int = 0) -> None:
        """`matrix` may have one example or one head for all; its first row is the query at `query_offset`."""
        self.matrix = matrix
        self.query_offset = query_offset

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """What the matrix says."""
        batch = batch if len(self.matrix) > 1 else batch * 0
        head = head if self.matrix.shape[1] > 1 else head * 0
        return self.matrix[batch, head, query - self.query_offset, key]


def as_bias(bias: Bias | Tensor | None, query_offset: int = 0) -> Bias | None:
    """A bias from a bias or from a float tensor, (query, key) or (batch, head, query, key); None stays None.

    Raises:
        TypeError: If a tensor is not floating: a boolean one is a mask.
        ValueError: If it has another number of axes.
    """
    if bias is None or not isinstance(bias, Tensor):
        return bias
    if not bias.is_floating_point():
        raise TypeError(
            f"bias must be a floating tensor, added to the scores, but got {bias.dtype}; a boolean matrix goes "
            "into mask."
        )
    if bias.ndim not in (2, 4):
        raise ValueError(
            f"bias must be (query, key) or (batch, head, query, key), but got {tuple(bias.shape)}."
        )
    return DenseBias(bias if bias.ndim == 4 else bias[None, None], query_offset)


class Sum:
    """Two biases together."""

    def __init__(self, left: Bias, right: Bias) -> None:
        """Numbers of `left` and of `right` are added."""
        self.left, self.right = left, right

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The sum for each pair."""
        return self.left.scores(batch, head, query, key) + self.right.scores(batch, head, query, key)


def looked_up(table: Float[Tensor, "head entry"], head: Index, entry: Index) -> Float[Tensor, "..."]:
    """`table[head, entry]`, several times faster forwards and backwards where heads have an axis of their own."""
    behind = max(head.ndim - 1, 0)
    tail = entry.shape[max(entry.ndim - behind, 0) :]
    if head.ndim == 0 or head.numel() != len(head) or entry.numel() != tail.numel():
        return table[head, entry]
    found = table[head.flatten()].gather(1, entry.reshape(1, -1).expand(len(head), -1))
    return found.view(len(head), *(1,) * (behind - len(tail)), *tail)
