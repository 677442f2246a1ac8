"""Work on a long row of things some at a time, and on half as many at once whenever memory runs out.

What comes out does not depend on how many were worked on together (up to rounding), so a caller never has to guess a
number that fits.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")
WORDS = ("not enough memory", "can't allocate memory", "out of memory")


def in_halves(run: Callable[[slice], Result], total: int, at_once: int) -> Iterator[tuple[slice, Result]]:
    """Run over `total` things, at most `at_once` at a time; where memory runs out, over half as many from there on.

    A generator, so that no more than one result is held: add them up, or put each into its place. Where they are rows
    of one tensor, `torch.cat([part for _, part in in_halves(run, total, at_once)])`.

    Args:
        run: Given which things to work on, answers for these alone; called again for fewer if memory runs out, so it
            must not change anything before it is done.
        total: How many things there are.
        at_once: How many to work on at a time to begin with; at least 1.

    Yields:
        Which things, and the answer, from first to last; together they are all things, each once.

    Raises:
        ValueError: If `at_once` is less than 1.
        RuntimeError: Or `MemoryError`, as it came, if memory runs out on a single thing; a note says so.
    """
    if at_once < 1:
        raise ValueError(f"at_once must be at least 1, but got {at_once=}; 1 needs the least memory.")
    first = 0
    while first < total:
        which = slice(first, min(first + at_once, total))
        found = _tried(run, which)
        if found is None:
            at_once = (which.stop - first + 1) // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield which, found[0]
        first = which.stop


def _tried(run: Callable[[slice], Result], which: slice) -> tuple[Result] | None:
    """The answer, or None where memory ran out; by then the error is gone, and with it all that it held."""
    try:
        return (run(which),)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if which.stop - which.start == 1:
            error.add_note(
                "Memory must suffice for one image at a time, but did not; use smaller images or a smaller model."
            )
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)
