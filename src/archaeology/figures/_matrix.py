"""A number for every head as a matrix, layer by head, with the mean of each layer beside it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._theme import (
    COLOURS,
    SEQUENTIAL,
    bare,
    colour_bar,
    dots,
    new_figure,
    place,
    round_ticks,
    themed,
)
from archaeology.figures.drawing import DataTable
from archaeology.figures.words import NOT_KNOWN, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATRIX_WIDTH, LEFT, TOP, GAP, MEAN_WIDTH = 3.3, 0.5, 0.1, 0.25, 0.85
LEAST_CHANGE = 0.1


@dataclass(frozen=True)
class HeadMatrix:
    """One statistic of every head, with its 95 % interval; NaN where a layer has fewer heads.

    Attributes:
        value: Mean over images.
        low: Lower end of the interval.
        high: Upper end of the interval.
        layer_mean: Mean over the heads of each layer.
        change: Layer mean of the last layer less that of the first, relative to the larger of the two.
        n: Images behind each mean.
    """

    value: Float[np.ndarray, "layer head"]
    low: Float[np.ndarray, "layer head"]
    high: Float[np.ndarray, "layer head"]
    layer_mean: Float[np.ndarray, " layer"]
    change: float
    n: int


def head_matrix(run: RunDirectory, column: str, *, scale: float = 1.0) -> HeadMatrix | None:
    """The statistic `column` of `heads.parquet`, times `scale`; None where no head has it."""
    value = scale * matrix_of(run, column)
    if not np.isfinite(value).any():
        return None
    layer_mean = means_of_rows(value)
    first, last = layer_mean[0], layer_mean[-1]
    return HeadMatrix(
        value=value,
        low=scale * matrix_of(run, f"{column}_low"),
        high=scale * matrix_of(run, f"{column}_high"),
        layer_mean=layer_mean,
        change=float((last - first) / max(abs(first), abs(last), 1e-12)),
        n=max(run.heads.column("n").to_pylist(), default=0),
    )


def matrix_of(run: RunDirectory, column: str) -> Float[np.ndarray, "layer head"]:
    """One column of `heads.parquet` as a matrix; NaN where there is no such head, number or column."""
    if column not in run.heads.column_names or run.heads.num_rows == 0:
        return np.full((0, 0), np.nan)
    layers, heads = (np.asarray(run.heads.column(name)) for name in ("layer", "head"))
    values = [np.nan if value is None else value for value in run.heads.column(column).to_pylist()]
    matrix = np.full((layers.max() + 1, heads.max() + 1), np.nan)
    matrix[layers, heads] = values
    return matrix


def means_of_rows(value: Float[np.ndarray, "layer head"]) -> Float[np.ndarray, " layer"]:
    """Mean of each row over its finite values; NaN for a row without any."""
    known = np.isfinite(value)
    total = np.where(known, value, 0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(value), np.nan), where=known.any(axis=1))


def trend(data: HeadMatrix, what: str, unit: str) -> str:
    """How the layer mean moves from the first layer to the last, in one sentence that starts with `what`."""
    depth, first, last = len(data.layer_mean), *(number(data.layer_mean[end]) for end in (0, -1))
    of = plural(data.n, "image")
    if depth == 1:
        return f"{what} is {first}{unit} on average over the heads ({of})."
    if abs(data.change) < LEAST_CHANGE:
        return f"{what} hardly differs between the first layer ({first}{unit}) and the last ({last}{unit}; {of})."
    verb = "grows" if data.change > 0 else "shrinks"
    return (
        f"{what} {verb} with depth: {first}{unit} in layer 1, {last}{unit} in layer {depth}, "
        f"on average over heads ({of})."
    )


def draw_matrix(data: HeadMatrix, name: str, unit: str) -> "Figure":
    """The matrix in a colour map from the lowest to the highest value, with the layer means beside it."""
    with themed(name):
        figure = new_figure(*matrix_size(data.value))
        axes, means, bar = matrix_axes(figure, data.value)
        low, high = np.nanmin(data.value), np.nanmax(data.value)
        draw_cells(axes, data.value, SEQUENTIAL, low, high)
        draw_means(means, data.layer_mean)
        colour_bar(bar, SEQUENTIAL, low, high, unit)
    return figure


def matrix_size(value: Float[np.ndarray, "layer head"]) -> tuple[float, float]:
    """Width and height in inches of the figure for a matrix of this shape."""
    return LEFT + MATRIX_WIDTH + GAP + MEAN_WIDTH + 0.12, TOP + cells_height(value) + 1.02


def matrix_axes(figure: "Figure", value: Float[np.ndarray, "layer head"]) -> "tuple[Axes, Axes, Axes]":
    """Places for the matrix, for the layer means and for the colour bar."""
    tall = cells_height(value)
    return (
        place(figure, LEFT, TOP, MATRIX_WIDTH, tall),
        place(figure, LEFT + MATRIX_WIDTH + GAP, TOP, MEAN_WIDTH, tall),
        place(figure, LEFT, TOP + tall + 0.5, MATRIX_WIDTH, 0.1),
    )


def cells_height(value: Shaped[np.ndarray, "layer head"]) -> float:
    """Height in inches of a matrix with this many rows."""
    return len(value) * (0.3 if len(value) <= 8 else 0.24 if len(value) <= 16 else 0.18)


def draw_cells(
    axes: "Axes", value: Float[np.ndarray, "layer head"], colour_map: str, low: float, high: float
) -> None:
    """The cells as one picture (the page finds the cell under the pointer), counted from 1 as people do."""
    axes.imshow(
        value, cmap=colour_map, vmin=low, vmax=high, aspect="auto", interpolation="none", clip_on=False
    )
    label_axes(axes, value.shape)


def label_axes(axes: "Axes", shape: tuple[int, ...]) -> None:
    """Number layers and heads of a matrix of this shape along its sides."""
    axes.set_xticks(*_numbered(shape[1]))
    axes.set_yticks(*_numbered(shape[0]))
    bare(axes)
    axes.set_xlabel("head", labelpad=1)
    axes.set_ylabel("layer", labelpad=3)


def draw_means(axes: "Axes", layer_mean: Float[np.ndarray, " layer"]) -> None:
    """The mean of each layer as a line going down beside the matrix."""
    layers = np.arange(len(layer_mean), dtype=float)
    axes.plot(layer_mean, layers, color=COLOURS["ink"], linewidth=1, clip_on=False)
    axes.set_ylim(len(layer_mean) - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(round_ticks(2))
    axes.grid(axis="x")
    axes.margins(x=0.15)
    bare(axes)
    known = np.isfinite(layer_mean)
    dots(axes, layer_mean[known], layers[known], size=3.4, fill=COLOURS["ink"])
    axes.set_xlabel("mean of heads", labelpad=1)


def _numbered(size: int) -> tuple[list[int], list[str]]:
    """Places and labels 1, 2, 3, ..., thinned out where they would crowd."""
    step = 1 if size <= 16 else 2 if size <= 32 else 4
    places = list(range(0, size, step))
    return places, [str(place + 1) for place in places]


def matrix_table(data: HeadMatrix) -> DataTable:
    """One row per layer, one column per head: the value and its interval."""
    layers, heads = data.value.shape
    cells = [[cell_text(data, layer, head) for head in range(heads)] for layer in range(layers)]
    return DataTable(
        columns=("Layer", *(f"Head {head + 1}" for head in range(heads))),
        rows=tuple((str(layer + 1), *row) for layer, row in enumerate(cells)),
    )


def cell_text(data: HeadMatrix, layer: int, head: int) -> str:
    """Value and interval, like 1.83 (1.80 to 1.86)."""
    if not np.isfinite(data.value[layer, head]):
        return NOT_KNOWN
    value, low, high = (number(float(part[layer, head])) for part in (data.value, data.low, data.high))
    return f"{value} ({low} to {high})"
