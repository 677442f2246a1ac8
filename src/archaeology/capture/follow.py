"""A softmax is attention only if its result later multiplies values; so its result is followed until it does.

Followed tensors are held weakly: an entry goes when its tensor goes, so neither memory nor a reused address is
mistaken for an old pattern. With each goes the axis that the softmax normalised, as far as it can be traced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

SOFTMAX = frozenset({"softmax", "_softmax", "_safe_softmax"})
PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "baddbmm", "einsum"})
MIXING = frozenset({"linear", "conv1d", "conv2d", "conv3d"})  # of heads, as in CaiT's talking heads
PIECES = frozenset(
    "__getitem__ chunk split split_with_sizes tensor_split unbind narrow select index_select expand expand_as "
    "broadcast_to repeat repeat_interleave tile pad cat concat stack gather take_along_dim".split()
)
SWAPS = frozenset({"transpose", "swapaxes", "swapdims"})
FLIPS = frozenset({"mT", "mH", "T", "H", "t", "adjoint"})


@dataclass
class Trace:
    """What is known of a followed tensor: the axis the softmax ran over, and the event it has become part of."""

    axis: int | None
    event: int | None = None


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
        self._traces[result] = Trace(dim % result.ndim if isinstance(dim, int) and result.ndim else None)

    def mark(self, tensor: Tensor, axis: int | None) -> None:
        """Follow this tensor too."""
        self._traces[tensor] = Trace(axis)

    def trace(self, tensor: Tensor) -> Trace | None:
        """What is known of `tensor`, or None if it is not followed."""
        return self._traces.get(tensor)

    def carry(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], result: object) -> None:
        """Follow the result of a function called `name`, if it is still a pattern."""
        for source in _tensors((*arguments, *keywords.values())):
            trace = self._traces.get(source)
            if trace is None:
                continue
            for made in _tensors((result,)):
                if (
                    made.is_floating_point()
                    and made is not source
                    and _is_still_pattern(name, source, made, trace)
                ):
                    self._traces[made] = Trace(_moved(name, arguments, keywords, source, made, trace.axis))


def _tensors(things: tuple[Any, ...]) -> Iterator[Tensor]:
    """Tensors among `things` and in lists and tuples among them."""
    for thing in things:
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, list | tuple):
            yield from (part for part in thing if isinstance(part, Tensor))


def _is_still_pattern(name: str, before: Tensor, after: Tensor, trace: Trace) -> bool:
    if name in MIXING:
        # Heads are mixed along the last axis (linear) or the channels (convolution); keys must not be what is summed.
        mixed = before.ndim - 1 if name == "linear" else 1
        return trace.axis is not None and trace.axis != mixed and after.ndim == before.ndim
    return after.numel() == before.numel() or name in PIECES


def _moved(
    name: str,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    before: Tensor,
    after: Tensor,
    axis: int | None,
) -> int | None:
    """Where the axis of the softmax is after the function called `name`."""
    if axis is None:
        return None
    order = _order(name, arguments, keywords, before.ndim)
    if order is not None:
        return order.index(axis)
    if after.ndim == before.ndim and (after.shape == before.shape or after.numel() != before.numel()):
        return axis
    size, trailing = before.shape[axis], prod(before.shape[axis + 1 :])
    same = [
        place
        for place in range(after.ndim)
        if after.shape[place] == size and prod(after.shape[place + 1 :]) == trailing
    ]
    return same[0] if same else None


def _order(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], ndim: int) -> list[int] | None:
    """Old axes in their new order, for functions that reorder them."""
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
        origin, goal = ([spot] if isinstance(spot, int) else list(spot) for spot in given)
        moving = {place % ndim: start % ndim for start, place in zip(origin, goal, strict=True)}
        staying = iter(place for place in range(ndim) if place not in moving.values())
        order = [moving[place] if place in moving else next(staying) for place in range(ndim)]
    else:
        return None
    return order


def is_weight(tensor: Tensor) -> bool:
    """Whether `tensor` is a parameter or a view of one: learned, the same for all images."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
