"""A softmax is attention only if its result later multiplies values; so its result is followed until it does.

Followed tensors are held weakly: an entry goes when its tensor goes, so that neither memory nor an address
used again is mistaken for an old pattern. With each goes the axis that the softmax normalised, as far as it
can be traced, which later tells values (summed over that axis) from a mixing of heads (summed over another).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any
from weakref import ReferenceType

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

SOFTMAX = frozenset({"softmax", "_softmax", "_safe_softmax"})
PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "baddbmm", "einsum"})
MIXING = frozenset({"linear", "conv1d", "conv2d", "conv3d"})  # of heads, as in CaiT's talking heads
SWAPS = frozenset({"transpose", "swapaxes", "swapdims"})
FLIPS = frozenset({"mT", "mH", "T", "H", "t", "adjoint"})
PARTS = frozenset(
    "__getitem__ chunk split split_with_sizes tensor_split unbind narrow select index_select "
    "expand expand_as broadcast_to repeat repeat_interleave tile".split()
)
JOINS = frozenset({"pad", "cat", "concat", "stack"})
# Functions that move or copy numbers without changing one; dropout too, which does nothing in evaluation.
MOVES = (
    frozenset(
        "view view_as reshape reshape_as flatten unflatten squeeze unsqueeze permute movedim moveaxis "
        "contiguous clone detach alias to type type_as float double half bfloat16 cpu cuda "
        "dropout dropout1d dropout2d".split()
    )
    | SWAPS
    | FLIPS
    | PARTS
)


@dataclass
class Trace:
    """What is known of a followed tensor.

    Attributes:
        axis: The one the softmax ran over; None if lost from sight.
        normalised: Whether its numbers are still those of the softmax: they sum to one along the axis.
        event: Number of the attention it became part of, if it has multiplied values already.
        pattern: The pattern that stood in for it then, where one was materialised.
    """

    axis: int | None
    normalised: bool
    event: int | None = None
    pattern: "ReferenceType[Tensor] | None" = None


class Followed:
    """The results of softmaxes that are still on their way to their values."""

    def __init__(self) -> None:
        self._traces = WeakTensorKeyDictionary()

    def __len__(self) -> int:
        return len(self._traces)

    def clear(self) -> None:
        """Forget all."""
        self._traces.clear()

    def start(self, result: Tensor, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Follow the `result` of a softmax called with these arguments."""
        dim = keywords.get("dim", arguments[1] if len(arguments) > 1 else None)
        axis = dim % result.ndim if isinstance(dim, int) and result.ndim else None
        self._traces[result] = Trace(axis, normalised=axis is not None)

    def mark(self, tensor: Tensor, axis: int | None) -> None:
        """Follow this tensor too, a mixture of followed ones."""
        self._traces[tensor] = Trace(axis, normalised=False)

    def trace(self, tensor: Tensor) -> Trace | None:
        """What is known of `tensor`, or None if it is not followed."""
        return self._traces.get(tensor)

    def carry(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], result: object) -> None:
        """Follow the result of a function called `name`, if it is still a pattern."""
        for source in _tensors((*arguments, *keywords.values())):
            trace = self._traces.get(source)
            if trace is None:
                continue
            if name == "__setitem__" and source is arguments[0]:
                trace.normalised = False
            for made in _tensors((result,)):
                if made is source:
                    trace.normalised = trace.normalised and name in MOVES
                elif made.is_floating_point() and _is_still_pattern(name, source, made, trace.axis):
                    axis = _moved(name, arguments, keywords, source, made, trace.axis)
                    whole = axis is not None and made.shape[axis] == source.shape[trace.axis or 0]
                    self._traces[made] = Trace(axis, trace.normalised and name in MOVES and whole)


def _tensors(things: tuple[Any, ...]) -> Iterator[Tensor]:
    """Tensors among `things` and in lists and tuples among them."""
    for thing in things:
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, list | tuple):
            yield from (part for part in thing if isinstance(part, Tensor))


def _is_still_pattern(name: str, before: Tensor, after: Tensor, axis: int | None) -> bool:
    if name in MIXING:
        # Heads are mixed along the last axis (linear) or the channels (convolution), never along the keys.
        mixed = before.ndim - 1 if name == "linear" else 1
        return axis is not None and axis != mixed and after.ndim == before.ndim
    return after.numel() == before.numel() or name in PARTS or name in JOINS


def _moved(
    name: str,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    before: Tensor,
    after: Tensor,
    axis: int | None,
) -> int | None:
    """Where the axis of the softmax is after the function called `name`; None if that cannot be told."""
    if axis is None:
        return None
    order = _order(name, arguments, keywords, before.ndim)
    if order is not None:
        return order.index(axis)
    if after.shape == before.shape or (after.ndim == before.ndim and after.numel() != before.numel()):
        return axis
    # Reshaping keeps an axis whole exactly where as many numbers follow it as before.
    size, following = before.shape[axis], prod(before.shape[axis + 1 :])
    for place in range(after.ndim):
        if after.shape[place] == size and prod(after.shape[place + 1 :]) == following:
            return place
    return None


def _order(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], ndim: int) -> list[int] | None:
    """Old axes in their new order, for functions that reorder them; None for others."""
    order = list(range(ndim))
    given = [*arguments[1:], *keywords.values()]
    if name in FLIPS:
        order[-2:] = order[:-3:-1]
    elif name in SWAPS:
        one, two = given
        order[one], order[two] = order[two], order[one]
    elif name == "permute":
        dims = given[0] if isinstance(given[0], list | tuple) else given
        order = [dim % ndim for dim in dims]
    elif name in ("movedim", "moveaxis"):
        origins, goals = ([spot] if isinstance(spot, int) else list(spot) for spot in given)
        moving = {goal % ndim: origin % ndim for origin, goal in zip(origins, goals, strict=True)}
        staying = iter([place for place in range(ndim) if place not in moving.values()])
        order = [moving[place] if place in moving else next(staying) for place in range(ndim)]
    else:
        return None
    return order


def is_weight(tensor: Tensor) -> bool:
    """Whether `tensor` is a parameter or a view of one: learned, the same for all images."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
