"""What figures of the worlds share in how they look: colours of kinds, a headline that wraps, quiet captions."""

import textwrap
from typing import TYPE_CHECKING, Any

from archaeology.figures._labels import LEFT, write_above
from archaeology.figures._theme import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIND_COLOURS = ("#2b6a99", "#b0561a", "#3d7f4c", "#7a4f9a")
SERIES = (*KIND_COLOURS, "#c0392b", "#117a8b", "#8a6d1f", "#5c6570", "#d6006e", "#22262b")
MARK = "#d6006e"  # what is followed through a figure; no shape has quite this pink
SIGNS = {
    "triangle": "\N{BLACK UP-POINTING TRIANGLE}",
    "rectangle": "\N{BLACK SQUARE}",
    "semicircle": "\N{CIRCLE WITH UPPER HALF BLACK}",
}
INCHES_PER_LETTER = 0.086  # of the bold headline, on average and a little more
LINE = 0.21  # inches between lines of the headline


def write_headline(figure: "Figure", text: str) -> float:
    """Write `text` bold at the top, in as many lines as the width asks for; how many inches that takes."""
    lines = headline_lines(figure.get_size_inches()[0], text)
    for number, line in enumerate(lines):
        write_above(figure, 0.12 + LINE * number, line, size=10.5, is_bold=True)
    return 0.12 + LINE * len(lines)


def headline_height(width: float, text: str) -> float:
    """Inches that `write_headline` will take in a figure of this width."""
    return 0.12 + LINE * len(headline_lines(width, text))


def headline_lines(width: float, text: str) -> list[str]:
    """The headline wrapped to so many inches, at a semicolon first."""
    letters = max(20, int((width - 2 * LEFT) / INCHES_PER_LETTER))
    if len(text) <= letters:
        return [text]
    first, mark, rest = text.partition("; ")
    parts = [first + mark.strip(), rest] if mark else [text]
    return [line for part in parts for line in textwrap.wrap(part, letters)]


def write_at(
    figure: "Figure",
    left: float,
    top: float,
    text: str,
    *,
    size: float = 8.5,
    colour: str = "ink",
    **more: Any,
) -> None:
    """Write text whose upper left corner lies at these inches from the figure's."""
    width, height = figure.get_size_inches()
    figure.text(
        left / width,
        1 - top / height,
        text,
        va="top",
        fontsize=size,
        color=COLOURS.get(colour, colour),
        **more,
    )


def title(axes: "Axes", text: str, *, colour: str = "ink", size: float = 8.5) -> None:
    """A plain title at the left above the axes."""
    axes.set_title(text, loc="left", fontsize=size, color=COLOURS.get(colour, colour), pad=4)


def shape_sign(
    axes: "Axes", x: float, y: float, kind: str, rgb: tuple[float, ...], size: float = 12.0
) -> None:
    """A small picture of a shape of `shapes2d` in its colour, at data coordinates, `size` points wide."""
    is_filled = kind.startswith("filled")
    axes.plot(
        [x],
        [y],
        "o" if kind.endswith("circle") else "s",
        markersize=size if is_filled else 0.84 * size,
        markerfacecolor=rgb if is_filled else "none",
        markeredgecolor=rgb,
        markeredgewidth=0 if is_filled else size / 4,
        clip_on=False,
    )
