"""A registry is a named shelf: a decorator puts a thing on it, a misspelt name gets the near miss back."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Generic, TypeVar

from archaeology.core.errors import UnknownNameError

Thing = TypeVar("Thing")


def unknown_name(kind: str, name: str, known: list[str]) -> UnknownNameError:
    """The error for a `name` that is none of the `known` ones of this `kind`, with the nearest of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(known) if known else "none"
    return UnknownNameError(
        f"No {kind} is called {name!r}{hint} Known: {listed}."
        if hint
        else f"No {kind} is called {name!r}. Known: {listed}."
    )


class Registry(Generic[Thing]):
    """Things of one kind by name, in the order they were registered."""

    def __init__(self, kind: str) -> None:
        """`kind` is the word used in messages, for example "explanation method"."""
        self.kind = kind
        self._things: dict[str, Thing] = {}

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """Decorator that shelves what it decorates under `name`.

        Raises:
            ValueError: If the name is taken.
        """

        def shelve(thing: Thing) -> Thing:
            if name in self._things:
                raise ValueError(f"A {self.kind} called {name!r} is registered already; choose another name.")
            self._things[name] = thing
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
