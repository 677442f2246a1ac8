"""Where in a pass tokens could be exchanged so that an attention layer would see it: found by watching one pass."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.interceptor import intercepted

Run = Callable[[Tensor], object]
MOST_SPOTS = 6  # of each kind


@dataclass(frozen=True)
class Spot:
    """A tensor that goes into a module or comes out of it, one part for each image.

    Attributes:
        path: Of the module.
        turn: Which call of the module in the pass, from 0.
        is_input: Whether it goes in.
        shape: Without the batch.
        axis: Of the features, in `shape`; the others are places.
    """

    path: str
    turn: int
    is_input: bool
    shape: tuple[int, ...]
    axis: int = -1

    @property
    def grid(self) -> tuple[int, ...]:
        """Size of the axes that are places: rows and columns, or one number of tokens."""
        return self.shape[:-1] if self.axis == -1 else self.shape[1:]

    @property
    def num_places(self) -> int:
        """How many places that makes."""
        count = 1
        for size in self.grid:
            count *= size
        return count

    @property
    def num_features(self) -> int:
        """Of a place."""
        return self.shape[self.axis]


@dataclass(frozen=True)
class Layer:
    """An attention layer met in the pass, with the spots before it, the likeliest first."""

    module: str
    kind: Kind
    num_windows: int
    num_heads: int
    num_queries: int
    num_keys: int
    spots: tuple[Spot, ...]


@dataclass
class _Log:
    """What happened so far: open calls, and what has come out since the last attention."""

    num_images: int
    turns: dict[tuple[str, bool], int] = field(default_factory=dict[tuple[str, bool], int])
    open: list[tuple[str, "_Seen | None"]] = field(default_factory=list[tuple[str, "_Seen | None"]])
    finished: list["_Seen"] = field(default_factory=list["_Seen"])
    layers: list[Layer] = field(default_factory=list[Layer])

    def spot(self, path: str, is_input: bool, things: object) -> "_Seen | None":
        turn = self.turns.get((path, is_input), 0)
        self.turns[path, is_input] = turn + 1
        tensor = carrier(things)
        if tensor is None or tensor.ndim not in (3, 4) or len(tensor) != self.num_images:
            return None
        return _Seen(Spot(path, turn, is_input, tuple(tensor.shape[1:])), tensor.data_ptr())

    def enter(self, path: str, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.open.append((path, self.spot(path, True, (*given, *named.values()))))

    def leave(self, path: str, _: nn.Module, given: object, output: object) -> None:
        while self.open and self.open.pop()[0] != path:
            pass
        spot = self.spot(path, False, output)
        if spot is not None:
            self.finished.append(spot)

    def see(self, attention: Attention) -> None:
        batch, heads, queries, keys = attention.shape
        windows = batch // self.num_images
        around = [seen for _, seen in reversed(self.open) if seen is not None]
        spots: list[Spot] = []
        met: set[tuple[int, tuple[int, ...]]] = set()
        for group in (around, self.finished[::-1]):
            fresh = [seen.spot for seen in group if not (seen.key in met or met.add(seen.key))]
            readings = [reading for spot in fresh for reading in _readings(spot)]
            spots += [spot for spot in readings if windows * keys >= spot.num_places > windows * keys // 8][
                :MOST_SPOTS
            ]
        once = tuple(dict.fromkeys(spots))
        self.layers.append(Layer(attention.module, attention.kind, windows, heads, queries, keys, once))
        self.finished.clear()


@dataclass(frozen=True)
class _Seen:
    """A spot with the address of its tensor, so that one that is passed from module to module counts once."""

    spot: Spot
    address: int

    @property
    def key(self) -> tuple[int, tuple[int, ...]]:
        return self.address, self.spot.shape


def scouted(model: nn.Module, run: Run, images: Tensor) -> tuple[Layer, ...]:
    """The attention layers of a pass in order, each with the spots where its tokens pass by.

    Args:
        model: The whole model.
        run: Runs it on images.
        images: A batch that is told from other axes by its size.
    """
    log = _Log(len(images))
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if not path:
                continue
            before = module.register_forward_pre_hook(partial(log.enter, path), with_kwargs=True)
            after = module.register_forward_hook(partial(log.leave, path))
            stack.callback(before.remove)
            stack.callback(after.remove)
        with intercepted(model, log.see):
            run(images)
    return tuple(log.layers)


def carrier(things: object) -> Tensor | None:
    """The tensor among what a module was given or returned: the first one."""
    if isinstance(things, Tensor):
        return things
    if isinstance(things, list | tuple):
        parts: list[object] = list(things)  # pyright: ignore[reportUnknownArgumentType]
        return next((part for part in parts if isinstance(part, Tensor)), None)
    return None


def _readings(spot: Spot) -> list[Spot]:
    """A map has its features last or first: both are tried."""
    if len(spot.shape) == 2:
        return [spot]
    return [spot, Spot(spot.path, spot.turn, spot.is_input, spot.shape, axis=0)]
