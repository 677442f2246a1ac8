"""What belongs to whom, in memory and bounded: things on shelves, each with an owner, oldest out.

A visitor is a random number in a cookie, signed so that nobody makes one up. Nothing is kept for a visitor who has
uploaded nothing, so visitors cost nothing, and a thing asked for by anybody but its owner does not exist.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Visitors:
    """Hands out names of visitors, and knows its own again."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def new(self) -> str:
        """A cookie for somebody who has none."""
        name = secrets.token_urlsafe(18)
        return f"{name}.{self._signature(name)}"

    def known(self, cookie: str | None) -> str | None:
        """The visitor's name, or None where the cookie is not one of ours."""
        name, _, signature = (cookie or "").partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._signature(name).encode())
        return name if name and genuine else None

    def _signature(self, name: str) -> str:
        return hmac.new(self._secret, name.encode(), sha256).hexdigest()


@dataclass
class Kept(Generic[Thing]):
    """A thing on a shelf."""

    owner: str
    thing: Thing
    size: int
    used: float


@dataclass
class Shelf(Generic[Thing]):
    """Things by unguessable names.

    Attributes:
        each: How many of one owner are kept.
        memory: Bytes of all owners together.
        idle: Seconds until what nobody asks for is forgotten.
        dropped: Called with each thing that has to go.
        clock: Seconds, for tests.
    """

    each: int
    memory: int
    idle: float
    dropped: Callable[[Thing], None] = lambda thing: None
    clock: Callable[[], float] = time.monotonic
    _kept: OrderedDict[str, Kept[Thing]] = field(default_factory=OrderedDict)  # least recently used first
    _size: int = 0

    def put(self, owner: str, thing: Thing, size: int) -> str:
        """Keep a thing and return its name; what is over the limits goes."""
        self.forget_idle()
        name = secrets.token_urlsafe(18)
        self._kept[name] = Kept(owner, thing, size, self.clock())
        self._size += size
        own = [key for key, kept in self._kept.items() if kept.owner == owner]
        for key in own[: max(0, len(own) - self.each)]:
            self._drop(key)
        while self._size > self.memory and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
        return name

    def get(self, owner: str | None, name: str) -> Thing | None:
        """The thing, or None where there is none of that name that belongs to this owner."""
        self.forget_idle()
        kept = self._kept.get(name)
        if kept is None or owner is None or kept.owner != owner:
            return None
        kept.used = self.clock()
        self._kept.move_to_end(name)
        return kept.thing

    def of(self, owner: str) -> list[Thing]:
        """All things of one owner."""
        return [kept.thing for kept in self._kept.values() if kept.owner == owner]

    def forget_idle(self) -> None:
        """Drop what nobody has asked for in a long time."""
        long_ago = self.clock() - self.idle
        while self._kept and next(iter(self._kept.values())).used < long_ago:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Drop everything."""
        while self._kept:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name)
        self._size -= kept.size
        self.dropped(kept.thing)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all things."""
        return self._size
