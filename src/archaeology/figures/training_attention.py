"""What fine-tuning did to attention: how far each head's pattern moved, how wide and far it looks before and after."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.diagnose.comparison import Comparison
from archaeology.diagnose.comparison_attention import AttentionChange, LayerChange
from archaeology.diagnose.comparison_words import UNCHANGED
from archaeology.figures._labels import LEFT
from archaeology.figures._theme import (
    COLOURS,
    SEQUENTIAL,
    bare,
    colour_bar,
    new_figure,
    place,
    round_ticks,
    themed,
)
from archaeology.figures._world_ink import SERIES, headline_height, title, write_at, write_headline
from archaeology.figures.drawing import DataTable, Drawing, training_figures
from archaeology.figures.words import fixed, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL, WIDE, GAP, ROW_GAP = 0.3, 2.5, 0.75, 0.95  # inches
MOVED = ("entropy", "distance")
TITLES = {"entropy": "entropy (% of the largest)", "distance": "distance (% of the image)"}


@dataclass(frozen=True, eq=False)
class TrainingAttention:
    """Everything drawn.

    Attributes:
        changes: Of every recipe that started from a specimen, layer by layer.
        orders: Places of these recipes among all that are compared, which choose their colours.
    """

    changes: list[AttentionChange]
    orders: list[int]


def compute(source: Comparison) -> TrainingAttention | None:
    """What was found; None where no run started from a specimen that could be looked at."""
    if not source.attention:
        return None
    names = [group.name for group in source.groups]
    return TrainingAttention(
        list(source.attention), [names.index(change.group) for change in source.attention]
    )


def mean_of(layer: LayerChange, quantity: str) -> float:
    """Over the heads of a layer."""
    found = layer.heads[quantity].value
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def headline(data: TrainingAttention) -> str:
    """Who moved how far, against what another image does."""
    said = []
    for change in data.changes:
        moved, usual = float(change.overall.value), float(change.usual.value)
        if moved < UNCHANGED:
            said.append(f"{change.group} looks where it looked before")
        elif np.isfinite(usual) and usual > 0:
            said.append(
                f"{change.group} moved its attention {fixed(moved / usual, 2)} times as far as another image does"
            )
        else:
            said.append(f"{change.group} moved its attention by {number(moved)} bits")
    return "; ".join(said) + "."


def draw(data: TrainingAttention) -> "Figure":
    """A row for each recipe: heads of each layer, then entropy and distance before and after."""
    heads = max(layer.heads["divergence"].value.size for change in data.changes for layer in change.layers)
    deep = max(len(change.layers) for change in data.changes)
    wide, tall = max(CELL * heads, 1.4), max(CELL * deep, 1.5)
    width = LEFT + 0.5 + wide + 2 * (GAP + WIDE) + 0.2
    said = headline(data)
    top = headline_height(width, said) + 0.35
    with themed("training_attention"):
        figure = new_figure(width, top + len(data.changes) * (tall + ROW_GAP) + 0.15)
        write_headline(figure, said)
        largest = max(max(float(np.nanmax(_matrix(change))) for change in data.changes), 1e-3)
        for row, change in enumerate(data.changes):
            start = top + row * (tall + ROW_GAP)
            colour = SERIES[data.orders[row] % len(SERIES)]
            looked = f"{plural(len(change.seeds), 'seed')}, {plural(change.num_images, 'image')}"
            words = f"{change.group} from {change.origin}, {looked}"
            write_at(figure, LEFT, start - 0.12, words, colour=colour)
            axes = place(figure, LEFT + 0.5, start + 0.3, wide, CELL * len(change.layers))
            _heads(axes, change, largest)
            bar = place(figure, LEFT + 0.5, start + 0.3 + CELL * len(change.layers) + 0.12, wide, 0.08)
            colour_bar(bar, SEQUENTIAL, 0.0, largest, "bits")
            for panel, quantity in enumerate(MOVED):
                left = LEFT + 0.5 + wide + GAP + panel * (WIDE + GAP)
                _before_and_after(place(figure, left, start + 0.3, WIDE, tall), change, quantity, colour)
    return figure


def _matrix(change: AttentionChange) -> Float[np.ndarray, "layer head"]:
    """Divergences; NaN beyond the heads of a layer that has fewer."""
    found = [layer.heads["divergence"].value for layer in change.layers]
    matrix = np.full((len(found), max(map(len, found))), np.nan)
    for row, values in enumerate(found):
        matrix[row, : len(values)] = values
    return matrix


def _heads(axes: "Axes", change: AttentionChange, largest: float) -> None:
    matrix = _matrix(change)
    axes.imshow(matrix, cmap=SEQUENTIAL, vmin=0, vmax=largest, aspect="auto", interpolation="none")
    axes.set_xticks([])
    axes.set_yticks(range(len(matrix)), [str(layer + 1) for layer in range(len(matrix))])
    axes.set_ylabel("layer", labelpad=2)
    bare(axes)
    title(axes, "moved, by head")


def _before_and_after(axes: "Axes", change: AttentionChange, quantity: str, colour: str) -> None:
    """An open dot before, a full one after, side by side within each layer."""
    for row, layer in enumerate(change.layers):
        before, after = (100 * layer.heads[f"{quantity}_{when}"].value for when in ("before", "after"))
        places = row + np.linspace(-0.3, 0.3, len(before)) if len(before) > 1 else np.array([float(row)])
        for x, old, new in zip(places.tolist(), before.tolist(), after.tolist(), strict=True):
            axes.plot([x, x], [old, new], color=colour, linewidth=1)
            axes.plot(
                [x], [old], "o", markersize=3.5, markerfacecolor=COLOURS["paper"], markeredgecolor=colour
            )
            axes.plot([x], [new], "o", markersize=3.5, color=colour)
    axes.set_xticks(range(len(change.layers)), [str(layer + 1) for layer in range(len(change.layers))])
    axes.set_xlim(-0.5, len(change.layers) - 0.5)
    axes.yaxis.set_major_locator(round_ticks())
    axes.grid(axis="y")
    axes.set_xlabel("layer; open: before, full: after", labelpad=1)
    title(axes, TITLES[quantity])


COLUMNS = (
    "Recipe",
    "Layer",
    "Moved (bits)",
    "Other image",
    "Entropy before",
    "after",
    "Distance before",
    "after",
)


def table(data: TrainingAttention) -> DataTable:
    """Means over the heads of each layer."""
    rows = tuple(
        (
            change.group,
            str(place + 1),
            number(mean_of(layer, "divergence")),
            number(mean_of(layer, "between_images")),
            *(
                percent(mean_of(layer, f"{quantity}_{when}"))
                for quantity in MOVED
                for when in ("before", "after")
            ),
        )
        for change in data.changes
        for place, layer in enumerate(change.layers)
    )
    return DataTable(COLUMNS, rows)


training_attention = training_figures.register("training_attention")(
    Drawing(
        name="training_attention",
        title="What does fine-tuning do to attention?",
        explanation="Where a pattern hardly moves, the new task is solved with the old way of looking.",
        definition="Jensen-Shannon divergence in bits (0: the same, 1: no key in common) between the rows of a head's "
        "pattern before and after, on the same images, mean over queries, images and seeds; beside it that between "
        "different images before. Entropy as a share of log(keys); distance from patch to patch in heights of the "
        "image. Grids of two sizes are brought to the coarser one.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
