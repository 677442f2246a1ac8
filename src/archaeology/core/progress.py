"""Progress on stderr for people, silence for pipes: one bar per stage with its rate and time to go."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Advance(Protocol):
    """Tell the bar that `count` more items are done."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """Advance by `count`; a `note` replaces the text behind the bar."""
        ...


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Advance]:
    """A bar on stderr while the block runs; nothing at all where stderr is no terminal.

    Args:
        label: What is being done, for example "looking at heads".
        total: How many items there are, or None where nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda count=1, note="": None
        return
    from rich import progress as bars  # heavy, and of use at a terminal only
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}"),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, note="")

        def advance(count: int = 1, note: str = "") -> None:
            bar.update(task, advance=count, note=note)

        yield advance
