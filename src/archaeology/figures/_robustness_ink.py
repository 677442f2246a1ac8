"""How figures of robustness look alike: models keep their colours, lines have bands, panels stand abreast."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from archaeology.figures._robustness import Subject, inked
from archaeology.figures._theme import COLOURS, bare, place, round_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LEFT, RIGHT = 5.02, 0.5, 0.12  # inches: of a figure, before its axes and behind them
LETTER, LINE = 0.074, 0.19  # inches of a letter and of a line of the key
NOTE_LETTERS, NOTE_LINE = 78, 0.15
GAP = 0.42  # inches between two panels


def key_rows(words: Sequence[str], room: float = WIDTH - 0.2) -> list[list[int]]:
    """Which entries of a key stand in which line."""
    rows: list[list[int]] = [[]]
    used = 0.0
    for place_of, text in enumerate(words):
        wide = entry_width(text)
        if rows[-1] and used + wide > room:
            rows.append([])
            used = 0.0
        rows[-1].append(place_of)
        used += wide
    return rows


def entry_width(text: str) -> float:
    """Inches that an entry of a key takes."""
    return 0.32 + LETTER * len(text)


def key_height(subjects: Sequence[Subject]) -> float:
    """Inches that `write_key` takes."""
    return 0.1 + LINE * len(key_rows([one.title for one in subjects]))


def write_key(figure: "Figure", subjects: Sequence[Subject], top: float = 0.0) -> None:
    """The models in their colours, in as many lines as it takes, from `top` inches below the upper edge on."""
    width, height = figure.get_size_inches()
    for line, row in enumerate(key_rows([one.title for one in subjects])):
        left = 0.1
        for at in row:
            one = subjects[at]
            words = f"\N{BLACK CIRCLE} {inked(one.title)}"
            below = 1 - (top + 0.05 + LINE * line) / height
            figure.text(left / width, below, words, va="top", color=COLOURS[one.colour])
            left += entry_width(one.title)


def write(
    figure: "Figure",
    left: float,
    top: float,
    text: str,
    *,
    colour: str = "ink",
    size: float = 8.0,
    is_bold: bool = False,
    side: str = "left",
) -> None:
    """Words whose upper edge lies `top` inches below the figure's, from `left` inches on."""
    width, height = figure.get_size_inches()
    figure.text(
        left / width,
        1 - top / height,
        inked(text),
        va="top",
        ha=side,
        fontsize=size,
        color=COLOURS[colour],
        fontweight="bold" if is_bold else "normal",
    )


def note_lines(text: str) -> list[str]:
    """A quiet note, wrapped to the width of a figure."""
    return wrap(text, NOTE_LETTERS)


def note_height(text: str) -> float:
    """Inches that `write_note` takes."""
    return 0.06 + NOTE_LINE * len(note_lines(text))


def write_note(figure: "Figure", top: float, text: str) -> None:
    """What must be known to read the figure, small and quiet, in as many lines as it takes."""
    for line, words in enumerate(note_lines(text)):
        write(figure, 0.1, top + NOTE_LINE * line, words, colour="muted", size=7.5)


def panel_places(
    count: int, across: int, top: float, tall: float, above: float, below: float
) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height in inches of each of `count` panels, `across` in a row, with room for words."""
    across = min(across, count)
    wide = (WIDTH - LEFT - RIGHT - (across - 1) * GAP) / across
    step = above + tall + below
    return [
        (LEFT + (at % across) * (wide + GAP), top + above + (at // across) * step, wide, tall)
        for at in range(count)
    ]


def panels_height(count: int, across: int, tall: float, above: float, below: float) -> float:
    """Inches that all rows of panels take."""
    return -(-count // across) * (above + tall + below)


def line_axes(figure: "Figure", box: tuple[float, float, float, float], title: str, note: str = "") -> "Axes":
    """Quiet axes in a box of inches, with a title and a note above."""
    axes = place(figure, *box)
    write(figure, box[0], box[1] - (0.36 if note else 0.2), title, is_bold=True)
    if note:
        write(figure, box[0], box[1] - 0.18, note, colour="muted", size=7.5)
    axes.grid(axis="y")
    bare(axes)
    axes.yaxis.set_major_locator(round_ticks(4))
    return axes


def percent_axis(axes: "Axes", *, is_labelled: bool = True) -> None:
    """Upright from 0 to 100 percent."""
    axes.set_ylim(0, 100)
    ticks = [0, 25, 50, 75, 100]
    axes.set_yticks(ticks, [str(tick) for tick in ticks] if is_labelled else [""] * len(ticks))


def draw_level(axes: "Axes", value: float, colour: str) -> None:
    """A dotted line all across, that others are to be compared with."""
    axes.axhline(value, color=COLOURS[colour], linewidth=1, linestyle=(0, (1, 2)))


def draw_line(
    axes: "Axes",
    x: Float[np.ndarray, " point"],
    ends: Float[np.ndarray, "end point"],
    colour: str,
    *,
    is_dashed: bool = False,
) -> None:
    """A line through the values, in a band from lower to upper ends."""
    value, low, high = ends
    axes.fill_between(x, low, high, color=COLOURS[colour], alpha=0.16, linewidth=0, clip_on=False)
    axes.plot(
        x,
        value,
        color=COLOURS[colour],
        linewidth=1.6,
        linestyle=(0, (3, 2)) if is_dashed else "solid",
        clip_on=False,
    )


def draw_whiskers(
    axes: "Axes",
    rows: Float[np.ndarray, " point"],
    ends: Float[np.ndarray, "end point"],
    colour: str,
) -> None:
    """Intervals lying in their rows, as one shape."""
    _, low, high = ends
    axes.plot(
        np.stack([low, high, np.full_like(low, np.nan)], axis=1).ravel(),
        np.repeat(rows, 3),
        color=COLOURS[colour],
        linewidth=1.6,
        clip_on=False,
    )
