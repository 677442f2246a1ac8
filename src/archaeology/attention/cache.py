"""A cache remembers what earlier tokens offer, so that a new token asks all of them and none is computed twice.

Keys and values of a causal layer never change once computed (`pope2023efficiently`, section 2). The memory is set aside
beforehand, so a new token is written into its place instead of copying all others next to it. Keys come turned by
their absolute position already (see `Rotary`), so only masks ask where a key lies.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.biases import Bias
from archaeology.attention.masks import Mask
from archaeology.core.registry import unknown_name

Key = Float[Tensor, "batch head token dim"]
Keys = Float[Tensor, "batch head all dim"]
Value = Float[Tensor, "batch head token value_dim"]
Values = Float[Tensor, "batch head all value_dim"]
CACHES = ("full", "sliding")
FIRST_ROOM = 64  # tokens that a growing cache has room for at first


@runtime_checkable
class Cache(Protocol):
    """Keys and values of the tokens seen before, such as `KeyValueCache`."""

    @property
    def length(self) -> int:
        """How many tokens were seen."""
        ...

    @property
    def window(self) -> int | None:
        """How many tokens are kept; None for all."""
        ...

    def append(self, key: Key, value: Value) -> tuple[Keys, Values, int]:
        """Keys and values to attend to, new ones included, and where among them the first new one lies."""
        ...


class Shelf:
    """A tensor that grows along its last axis but one, in memory set aside beforehand."""

    def __init__(self, name: str, capacity: int | None, *, first_room: int = FIRST_ROOM) -> None:
        """`name` is the word for what is kept, in messages; without a `capacity` the memory doubles when full."""
        if capacity is not None and capacity < 1:
            raise ValueError(f"capacity must be 1 or more tokens, or None to grow, but got {capacity}.")
        self.name, self.capacity, self.first_room, self.length = name, capacity, first_room, 0
        self._kept: Tensor | None = None

    @property
    def num_bytes(self) -> int:
        """Memory set aside."""
        return 0 if self._kept is None else self._kept.nbytes

    def append(self, new: Float[Tensor, "*lead token dim"]) -> Float[Tensor, "*lead all dim"]:
        """All that is kept, the new tokens last; a view, not a copy.

        Raises:
            ValueError: If the shape is not that of the tokens before, or the capacity is exceeded.
            TypeError: If dtype or device is another.
            RuntimeError: If a gradient is asked for.
        """
        self.check(new)
        end = self.length + new.shape[-2]
        kept = self._with_room(new, end)
        kept[..., self.length : end, :] = new
        self.length = end
        return kept[..., :end, :]

    def keep_last(self, count: int) -> None:
        """Forget all but the last `count` tokens."""
        if self._kept is not None and self.length > count:
            last = self._kept[..., self.length - count : self.length, :]
            self._kept[..., :count, :] = last.clone() if 2 * count > self.length else last
            self.length = count

    def check(self, new: Tensor) -> None:
        """Raise unless `new` fits what is kept, as `append` says."""
        if new.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(
                f"a cache keeps no gradient, but the {self.name} asks for one; decode inside torch.no_grad(), or "
                "train on whole sequences without a cache."
            )
        if self._kept is not None:
            expected = (*self._kept.shape[:-2], self._kept.shape[-1])
            came = (*new.shape[:-2], new.shape[-1])
            if came != expected:
                raise ValueError(
                    f"the {self.name} must have the batch, heads and features of the tokens before, {expected}, but "
                    f"got {came}; take a fresh cache for another batch."
                )
            if (new.dtype, new.device) != (self._kept.dtype, self._kept.device):
                raise TypeError(
                    f"the {self.name} must be {self._kept.dtype} on {self._kept.device} as before, but got "
                    f"{new.dtype} on {new.device}."
                )
        end = self.length + new.shape[-2]
        if self.capacity is not None and end > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} tokens, but got {self.length} + {new.shape[-2]}; make it larger, "
                "or leave out capacity so that it grows."
            )

    def _with_room(self, new: Tensor, end: int) -> Tensor:
        room = 0 if self._kept is None else self._kept.shape[-2]
        if self._kept is None or room < end:
            size = self.capacity or max(end, 2 * room, self.first_room)
            larger = new.new_empty(*new.shape[:-2], size, new.shape[-1])
            if self._kept is not None:
                larger[..., : self.length, :] = self._kept[..., : self.length, :]
            self._kept = larger
        return self._kept


class KeyValueCache:
    """Keys and values of all tokens so far, for one layer and one batch.

    With grouped queries it holds the few key heads only, so it is smaller by the size of the group.
    """

    window: int | None = None  # how many tokens are kept: all

    def __init__(self, *, capacity: int | None = None) -> None:
        """Room for `capacity` tokens, and an error beyond it; without one, room doubles when it is full.

        Raises:
            ValueError: If `capacity` is less than 1.
        """
        self._key, self._value = Shelf("key", capacity), Shelf("value", capacity)

    @property
    def length(self) -> int:
        """How many tokens were seen: the absolute position of the next one."""
        return self._key.length

    @property
    def num_bytes(self) -> int:
        """Memory set aside."""
        return self._key.num_bytes + self._value.num_bytes

    def append(self, key: Key, value: Value) -> tuple[Keys, Values, int]:
        """Take up new tokens; all keys, all values, and where among them the first new one lies.

        Raises:
            ValueError: If batch, heads or features are others than before, or the capacity is exceeded.
            TypeError: If dtype or device is another than before.
            RuntimeError: If a gradient is asked for.
        """
        check_pair(key, value)
        self._value.check(value)  # so that an error leaves both as they were
        offset = self.length
        return self._key.append(key), self._value.append(value), offset


class SlidingCache:
    """Keys and values of the last `window` tokens, for layers that look no farther back.

    A ring without a seam: new tokens go to the end of a memory of twice the window, and when it is full the last
    tokens move to its front, once every `window` tokens. So keys always lie in order, and their distances are right,
    while their absolute positions are lost: a mask or bias must depend on distance alone (`Mask.by_distance`).
    """

    def __init__(self, window: int) -> None:
        """`window` counts the token itself: a layer with `band_of(back, 0)` needs `window = back + 1`.

        Raises:
            ValueError: If `window` is less than 1.
        """
        if window < 1:
            raise ValueError(f"window must be 1 or more tokens, but got {window}.")
        self.window, self.length = window, 0
        self._key, self._value = (Shelf(name, None, first_room=2 * window) for name in ("key", "value"))

    @property
    def num_bytes(self) -> int:
        """Memory set aside."""
        return self._key.num_bytes + self._value.num_bytes

    def append(self, key: Key, value: Value) -> tuple[Keys, Values, int]:
        """Take up new tokens; the keys and values that they may see, and where among them the first new one lies.

        Raises:
            ValueError: If batch, heads or features are others than before.
            TypeError: If dtype or device is another than before.
            RuntimeError: If a gradient is asked for.
        """
        check_pair(key, value)
        pairs = ((self._key, key), (self._value, value))
        for shelf, new in pairs:
            shelf.check(new)
            if shelf.length + new.shape[2] > 2 * self.window:
                shelf.keep_last(self.window - 1)
        start = max(0, self._key.length - (self.window - 1))
        offset = self._key.length - start
        self.length += key.shape[2]
        keys, values = (shelf.append(new)[:, :, start:] for shelf, new in pairs)
        return keys, values, offset


def new_cache(kind: str, size: int | None = None) -> KeyValueCache | SlidingCache:
    """An empty cache.

    Args:
        kind: "full" for all tokens, "sliding" for the last ones.
        size: Tokens: the capacity of a full cache (None to grow), the window of a sliding one.

    Raises:
        UnknownNameError: If there is no such kind.
        ValueError: If the size is less than 1, or missing.
    """
    if kind not in CACHES:
        raise unknown_name("kind of cache", kind, list(CACHES))
    if kind == "full":
        return KeyValueCache(capacity=size)
    if size is None:
        raise ValueError("a sliding cache needs a size, the tokens of its window, but got None.")
    return SlidingCache(size)


def check_pair(key: Tensor, value: Tensor) -> None:
    """Raise unless there is a value for every key.

    Raises:
        ValueError: If there is not.
    """
    if key.shape[:3] != value.shape[:3]:
        raise ValueError(
            "key and value must have the same batch, heads and tokens, but got "
            f"key {tuple(key.shape)}, value {tuple(value.shape)}."
        )


def check_reach(window: int | None, masks: list[Mask], bias: Bias | None) -> None:
    """Raise unless a layer with these masks, all of which must hold, can do with its last `window` tokens.

    Args:
        window: How many tokens a cache keeps; None for all, which any layer can do with.
        masks: Who may look at whom.
        bias: Numbers added to the scores; one that depends on distance alone says so by an attribute `by_distance`.

    Raises:
        ValueError: If a mask or the bias asks for absolute positions, or tokens may look farther back.
    """
    if window is None:
        return
    absolute = [
        type(part).__name__ for part in (*masks, bias) if not getattr(part, "by_distance", part is None)
    ]
    if absolute:
        raise ValueError(
            "a sliding cache knows distances, not absolute positions, but the layer has "
            f"{', '.join(absolute)}; use a KeyValueCache."
        )
    back = min((mask.reach().back for mask in masks), default=float("inf"))
    if back > window - 1:
        raise ValueError(
            f"the layer looks {back} tokens back, but the cache keeps {window} with the token itself; give the "
            f"layer mask=band_of({window - 1}, 0), or use a KeyValueCache."
        )
