"""A registry is a named shelf: a decorator puts a thing on it, a misspelt name gets the near miss back."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar, cast

from archaeology.core.errors import UnknownNameError

Thing = TypeVar("Thing")
Decorated = TypeVar("Decorated")


def unknown_name(kind: str, name: str, known: list[str]) -> UnknownNameError:
    """The error for a `name` that is none of the `known` ones of this `kind`, with the nearest of them."""
    by_lower_case = {word.lower(): word for word in reversed(known)}
    near = get_close_matches(name.lower(), list(by_lower_case), n=1, cutoff=0.5)
    near = near or [word for word in by_lower_case if name and word.startswith(name.lower())]
    hint = f"; did you mean {by_lower_case[near[0]]!r}?" if near else "."
    return UnknownNameError(f"No {kind} is called {name!r}{hint} Known: {', '.join(known) or 'none'}.")


class Registry(Generic[Thing]):
    """Things of one kind by name, in the order they were registered."""

    def __init__(self, kind: str) -> None:
        """`kind` is the word used in messages, for example "explanation method"."""
        self.kind = kind
        self._things: dict[str, Thing] = {}

    def register(self, name: str) -> Callable[[Decorated], Decorated]:
        """Decorator that shelves what it decorates under `name`.

        Raises:
            ValueError: If the name is taken.
        """

        def shelve(thing: Decorated) -> Decorated:
            if name in self._things:
                raise ValueError(f"The {self.kind} {name!r} is registered already; choose another name.")
            self._things[name] = cast(Thing, thing)  # so that the decorated name keeps its own type
            return thing

        return shelve

    def get(self, name: str) -> Thing:
        """The thing called `name`.

        Raises:
            UnknownNameError: If there is none; the message suggests the nearest name.
        """
        if name not in self._things:
            raise unknown_name(self.kind, name, self.names())
        return self._things[name]

    def names(self) -> list[str]:
        """All names, in order of registration."""
        return list(self._things)

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    def __contains__(self, name: object) -> bool:
        return name in self._things
