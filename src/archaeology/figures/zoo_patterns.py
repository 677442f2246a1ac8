"""Who looks at whom: bands, stripes, blocks and washed-out copies of the same pattern, mechanism by mechanism."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archaeology.attention import mechanisms
from archaeology.figures._labels import LEFT, RELATION_COLOURS, write_above, write_key
from archaeology.figures._theme import COLOURS, SEQUENTIAL, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, zoo_figures
from archaeology.figures.words import count, fixed, percent
from archaeology.zoo.patterns import LENGTH, PatternMap, described_input, patterns
from archaeology.zoo.table import entries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS, SIDE, GAP = 5, 1.7, 0.22
TITLE_HEIGHT = 0.36
HIGHEST = 16.0  # times an even share, where the colours end


@dataclass(frozen=True)
class Patterns:
    """The maps of all mechanisms on one input."""

    maps: list[PatternMap]
    titles: list[str]
    relations: list[str]
    notes: list[str]
    length: int


def compute(names: Sequence[str]) -> Patterns | None:
    """The maps of these mechanisms, those nearest to softmax attention first; None for none."""
    if not names:
        return None
    listed = entries(names)
    maps = patterns([entry.name for entry in listed])
    return Patterns(
        maps=maps,
        titles=[entry.title for entry in listed],
        relations=[entry.relation for entry in listed],
        notes=[note(found) for found in maps],
        length=LENGTH,
    )


def note(found: PatternMap) -> str:
    """What a reader must know of the rows."""
    said = []
    if not found.rows_sum_to_one:
        said.append(f"rows sum to {fixed(found.lowest_row_sum, 1)} to {fixed(found.highest_row_sum, 1)}")
    elif not mechanisms.get(found.name).facts.rows_sum_to_one:
        said.append("once trained, rows need not sum to 1")
    if found.negative_share:
        said.append(f"{percent(found.negative_share, 0)} below 0")
    return ", ".join(said)


def headline(data: Patterns) -> str:
    """Whose rows do not sum to one."""
    odd = [title for title, said in zip(data.titles, data.notes, strict=True) if "rows" in said]
    if not odd:
        return "Every row sums to one: each answer is an average of values."
    return (
        f"Every row sums to one, so each answer is an average of values, except where said: {', '.join(odd)}."
    )


def draw(data: Patterns) -> "Figure":
    """Small multiples on one colour scale, whose steps follow the square root."""
    across = min(ACROSS, len(data.maps))
    down = -(-len(data.maps) // across)
    width = max(0.5 + across * (SIDE + GAP), 7.7)
    height = 0.95 + down * (SIDE + TITLE_HEIGHT + 0.1) + 0.65
    with themed("zoo_patterns"):
        figure = new_figure(width, height)
        write_above(figure, 0.12, "Who looks at whom", size=11.0, is_bold=True)
        said = f"{described_input(data.length)}; a row is a token that looks, a column one that is looked at"
        write_above(figure, 0.37, said, colour="muted")
        write_key(figure, 0.58, set(data.relations))
        for i, found in enumerate(data.maps):
            row, column = divmod(i, across)
            top = 0.95 + TITLE_HEIGHT + row * (SIDE + TITLE_HEIGHT + 0.1)
            axes = place(figure, LEFT + column * (SIDE + GAP), top, SIDE, SIDE)
            _map(axes, found, data.notes[i])
            _title(axes, data.titles[i], RELATION_COLOURS[data.relations[i]])
        _bar(place(figure, LEFT, height - 0.5, 3.2, 0.1))
    return figure


def _map(axes: "Axes", found: PatternMap, said: str) -> None:
    from matplotlib.colors import PowerNorm

    axes.imshow(
        found.cells,
        cmap=_colours(),
        norm=PowerNorm(0.5, vmin=0, vmax=HIGHEST),
        interpolation="none",
        aspect="auto",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(said or " ", loc="left", fontsize=7, color=COLOURS["muted"], pad=2)


def _title(axes: "Axes", title: str, colour: str) -> None:
    place, offset = (0, 1), (0, 13)
    axes.annotate(
        title,
        place,
        xytext=offset,
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        color=COLOURS[colour],
    )


def _colours():
    import matplotlib as mpl

    return mpl.colormaps[SEQUENTIAL].with_extremes(under=COLOURS["cnn"])


def _bar(axes: "Axes") -> None:
    """From none to `HIGHEST` times an even share, ticks where the square root puts them."""
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=SEQUENTIAL, aspect="auto", extent=(0, 1, 0, 1))
    ticks = (0, 1, 4, 9, HIGHEST)
    axes.set_xticks([(tick / HIGHEST) ** 0.5 for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_yticks([])
    axes.set_xlabel("weight, in even shares 1/N (square-root scale; orange: below 0)", labelpad=2, loc="left")


def table(data: Patterns) -> DataTable:
    """Row sums and negative weights."""
    rows = tuple(
        (
            found.name,
            f"{fixed(found.lowest_row_sum, 2)} to {fixed(found.highest_row_sum, 2)}",
            percent(found.negative_share),
        )
        for found in data.maps
    )
    return DataTable(("Mechanism", "Rows sum to", "Weights below zero"), rows)


zoo_patterns = zoo_figures.register("zoo_patterns")(
    Drawing(
        name="zoo_patterns",
        title="Who looks at whom in each kind of attention?",
        explanation="Each square is one mechanism on the same input: a row is a token that looks, a column one that "
        "is looked at, bright is much attention.",
        definition="Every mechanism is linear in its values, so feeding it the identity as values gives the matrix "
        f"that it implies, here of the first head. {count(LENGTH)} tokens, each cell the mean over a block of pairs, "
        "times the number of tokens; default options, weights and random features as drawn at the start, untrained.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
