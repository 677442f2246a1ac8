"""Specimens for the explorer in the page: a few images with all of their attention, the others with the readout alone.

A page that must be passed around has room for so many bytes. What one image takes is measured, not guessed: all
patterns go in for the worst failures first, as long as they fit.
"""

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from archaeology.dig.directory import RunDirectory
from archaeology.explorer.from_run import RunSubjects
from archaeology.report.shown import ShownImage

MOST_FULL = 4  # images with all patterns, where nobody asks for more
COUNTS = (24, 16, 8)  # images in the explorer of a page: fewer where that makes room for whole ones
ENOUGH_FULL = 2  # whole ones, for which no image is left out any more
COMPRESSION = 9


@dataclass(frozen=True)
class Specimen:
    """One image of the explorer.

    Attributes:
        image: As the rest of the page shows it.
        entry: What the explorer's list says of it.
        packed: Its container, deflated, in base64.
        is_full: Whether all patterns are in it.
    """

    image: ShownImage
    entry: dict[str, Any]
    packed: str
    is_full: bool


@dataclass(frozen=True)
class Specimens:
    """The chapter: all specimens, the worst failure first, and how much room they were given, in bytes."""

    specimens: tuple[Specimen, ...]
    room: int

    @property
    def size(self) -> int:
        """Bytes that all of them take in the page."""
        return sum(len(one.packed) for one in self.specimens)

    @property
    def num_full(self) -> int:
        """How many have all of their attention."""
        return sum(one.is_full for one in self.specimens)


def specimens(
    run: RunDirectory, images: dict[int, ShownImage], *, full: int | None, room: int
) -> Specimens | None:
    """The specimens of a run; None for one that keeps no image.

    Args:
        run: The run.
        images: Those it keeps pixels of, by row.
        full: How many get all of their attention, however large; None for as many as fit, at most `MOST_FULL`.
        room: Bytes that they may take together where `full` is None.
    """
    source = RunSubjects(run)
    names = [name for name in source.ids if int(name) in images][: max(COUNTS[0], full or 0)]
    if not names:
        return None
    subjects = [source.subject(name) for name in names]
    small = [pressed(one.readout_only().pack()) for one in subjects]
    whole = cache(lambda at: pressed(subjects[at].pack()))
    packed = fitted(small, whole, room) if full is None else chosen(small, whole, most=full, room=None)
    return Specimens(
        tuple(
            Specimen(images[int(name)], subject.entry(), text, is_full)
            for name, subject, (text, is_full) in zip(names, subjects, packed, strict=False)
        ),
        room,
    )


def fitted(small: Sequence[str], whole: Callable[[int], str], room: int) -> list[tuple[str, bool]]:
    """As many whole ones as fit, with fewer images where that lets in more of them, until there are `ENOUGH_FULL`."""
    best: list[tuple[str, bool]] = []
    for count in COUNTS:
        made = chosen(small[:count], whole, most=MOST_FULL, room=room)
        if not best or _num_full(made) > _num_full(best):
            best = made
        if _num_full(best) >= ENOUGH_FULL:
            break
    return best


def _num_full(made: Sequence[tuple[str, bool]]) -> int:
    return sum(is_full for _, is_full in made)


def chosen(
    small: Sequence[str], whole: Callable[[int], str], *, most: int, room: int | None
) -> list[tuple[str, bool]]:
    """The whole container of the first ones while there is room, the small one of the others.

    Args:
        small: The small container of each.
        whole: Makes the whole one.
        most: How many whole ones there may be.
        room: Bytes for all together; None for no bound.
    """
    made = [(text, False) for text in small]
    used = sum(map(len, small))
    for at in range(min(most, len(small))):
        text = whole(at)
        if room is not None and used + len(text) - len(small[at]) > room:
            break
        used += len(text) - len(small[at])
        made[at] = (text, True)
    return made


def pressed(container: bytes) -> str:
    """A container as a page carries it: deflated, then in base64, whose letters cannot end a script."""
    return base64.b64encode(zlib.compress(container, COMPRESSION)).decode("ascii")
