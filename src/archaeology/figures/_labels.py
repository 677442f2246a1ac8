"""Labels beside the ends of lines or dots, pushed apart so that none covers another, each joined to what it names."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archaeology.figures._theme import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELATION_COLOURS = {"exact": "ink", "sparse": "vit", "approximate": "cnn", "other": "muted"}
RELATION_WORDS = {
    "exact": "softmax over all keys",
    "sparse": "over fewer keys",
    "approximate": "an estimate of it",
    "other": "other weights",
}
LEFT = 0.15  # inches, of everything written above


@dataclass(frozen=True)
class Label:
    """What stands beside the point (x, y) of some axes.

    Attributes:
        text: The name.
        note: Said behind it, quietly.
        x: Of the point, in data coordinates.
        y: Likewise.
        colour: Name of a colour of the theme, or a colour.
    """

    text: str
    x: float
    y: float
    colour: str
    note: str = ""
    is_bold: bool = False


def label_beside(axes: "Axes", labels: Sequence[Label], *, size: float = 7.5, gap: float = 0.08) -> None:
    """Write labels in a column on the right of `axes`, whose limits must be final.

    Args:
        axes: Where the points are.
        labels: Any order; they are written in the order of their heights.
        size: Of the font, in points.
        gap: Width of the joining lines, as a share of the axes' width.
    """
    to_share = axes.transData + axes.transAxes.inverted()
    points = [to_share.transform((label.x, label.y)) for label in labels]
    points_tall = axes.bbox.transformed(axes.figure.dpi_scale_trans.inverted()).height * 72
    least = 1.3 * size / points_tall
    heights = spread([float(point[1]) for point in points], least)
    for label, point, height in zip(labels, points, heights, strict=True):
        colour = COLOURS.get(label.colour, label.colour)
        axes.plot(
            [point[0], max(1.0, float(point[0])), 1 + gap * 0.8],
            [point[1], point[1], height],
            color=colour,
            linewidth=0.6,
            alpha=0.45,
            transform=axes.transAxes,
            clip_on=False,
        )
        written = axes.annotate(
            label.text,
            (1 + gap, height),
            xycoords="axes fraction",
            va="center_baseline",
            fontsize=size,
            color=colour,
            fontweight="bold" if label.is_bold else "normal",
            annotation_clip=False,
        )
        if label.note:
            axes.annotate(
                label.note,
                (1, 0),
                xytext=(4, 0),
                xycoords=written,
                textcoords="offset points",
                va="bottom",
                fontsize=size,
                color=COLOURS["muted"],
                annotation_clip=False,
            )


def write_above(
    figure: "Figure", top: float, text: str, *, size: float = 8.5, colour: str = "ink", is_bold: bool = False
) -> None:
    """A line of text `top` inches below the upper edge."""
    width, height = figure.get_size_inches()
    weight = "bold" if is_bold else "normal"
    figure.text(
        LEFT / width,
        1 - top / height,
        text,
        va="top",
        fontsize=size,
        color=COLOURS[colour],
        fontweight=weight,
    )


def write_verdict(figure: "Figure", text: str) -> None:
    """What a figure shows, at its top, in two lines where there is a semicolon."""
    lines = text.split("; ")
    for number, line in enumerate(lines):
        end = ";" if number < len(lines) - 1 else ""
        write_above(figure, 0.12 + 0.2 * number, line + end, size=10.5, is_bold=True)


def write_key(figure: "Figure", top: float, relations: Collection[str]) -> None:
    """What the colours mean, in their own colours, `top` inches below the upper edge."""
    width, height = figure.get_size_inches()
    place = LEFT
    for relation, words in RELATION_WORDS.items():
        if relation in relations:
            colour = COLOURS[RELATION_COLOURS[relation]]
            figure.text(place / width, 1 - top / height, f"\N{BLACK CIRCLE} {words}", va="top", color=colour)
            place += 0.062 * len(words) + 0.4


def spread(places: Sequence[float], least: float) -> list[float]:
    """Places as near to `places` as they can be, in the same order, `least` or more apart, kept within [0, 1].

    Neighbours that are too close become a block around their mean, blocks that touch are joined.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    blocks: list[list[float]] = []  # each: sum of wanted places of its first label, number of labels
    for i in order:
        blocks.append([places[i], 1.0])
        while len(blocks) > 1 and _start(blocks[-2]) + blocks[-2][1] * least > _start(blocks[-1]):
            total, count = blocks.pop()
            before, earlier = blocks[-1]
            blocks[-1] = [before + total - count * earlier * least, earlier + count]
    moved = [_start(block) + place * least for block in blocks for place in range(int(block[1]))]
    moved = _within(moved, least)
    result = [0.0] * len(places)
    for i, place in zip(order, moved, strict=True):
        result[i] = place
    return result


def _start(block: list[float]) -> float:
    return block[0] / block[1]


def _within(places: list[float], least: float) -> list[float]:
    """Pushed up from 0 and down from 1; what does not fit hangs over at the bottom."""
    for i in range(len(places)):
        places[i] = max(places[i], i * least)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], 1 - (len(places) - 1 - i) * least)
    return places
