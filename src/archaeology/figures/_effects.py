"""What removing each head does, as a matrix: effects with paired intervals, marked if they exclude zero."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import (
    draw_cells,
    draw_means,
    matrix_axes,
    matrix_of,
    matrix_size,
    means_of_rows,
)
from archaeology.figures._theme import COLOURS, DIVERGING, colour_bar, dots, new_figure, themed
from archaeology.figures.drawing import DataTable
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISS_RATE = 0.05


@dataclass(frozen=True)
class HeadEffects:
    """The effect of replacing one head at a time; positive means the head helps, NaN where there is no head.

    Attributes:
        value: Mean over the same images with and without the head.
        low: Lower end of the 95 % interval.
        high: Upper end of the interval.
        excludes_zero: Where the interval lies on one side of zero.
        layer_mean: Mean over the heads of each layer.
        strongest: Layer and head with the largest positive effect, counted from 0.
        limit: The largest absolute effect, the end of the colour scale on both sides.
        num_heads: How many heads were measured.
        num_helping: How many have an interval above zero.
        num_harming: How many have an interval below zero.
        expected_by_chance: How many intervals would exclude zero if no head had any effect.
        stands: Where the p-value, corrected for all heads tried, is below the level; None where there was no such test.
        n: Images behind each effect.
        decimals: How many digits after the point are written.
        has_truth: Whether labels say what is right; if not, the model's own answers stand in for them.
    """

    value: Float[np.ndarray, "layer head"]
    low: Float[np.ndarray, "layer head"]
    high: Float[np.ndarray, "layer head"]
    excludes_zero: Bool[np.ndarray, "layer head"]
    layer_mean: Float[np.ndarray, " layer"]
    strongest: tuple[int, int]
    limit: float
    num_heads: int
    num_helping: int
    num_harming: int
    expected_by_chance: float
    stands: Bool[np.ndarray, "layer head"] | None
    n: int
    decimals: int
    has_truth: bool


def head_effects(
    run: RunDirectory, column: str, *, scale: float = 1.0, decimals: int, test: str = ""
) -> HeadEffects | None:
    """The effect `column` of `heads.parquet`, times `scale`; None where heads were not ablated.

    Args:
        run: Where heads are.
        column: The effect; its interval is in `column`_low and _high.
        scale: What values are multiplied with.
        decimals: How many digits after the point are written.
        test: Column of p-values of this effect, corrected for many comparisons, if there is one.
    """
    value, low, high = (scale * matrix_of(run, column + end) for end in ("", "_low", "_high"))
    known = np.isfinite(value)
    if not known.any():
        return None
    layer, head = np.unravel_index(np.nanargmax(value), value.shape)
    p_corrected = matrix_of(run, test) if test else np.full((0, 0), np.nan)
    return HeadEffects(
        value=value,
        low=low,
        high=high,
        excludes_zero=(low > 0) | (high < 0),
        layer_mean=means_of_rows(value),
        strongest=(int(layer), int(head)),
        limit=float(np.nanmax(np.abs(value))) or 1.0,
        num_heads=int(known.sum()),
        num_helping=int((low > 0).sum()),
        num_harming=int((high < 0).sum()),
        expected_by_chance=float(MISS_RATE * known.sum()),
        stands=p_corrected < MISS_RATE if np.isfinite(p_corrected).any() else None,
        n=max(run.heads.column("ablation_n").to_pylist(), default=0),
        decimals=decimals,
        has_truth=run.has_truth,
    )


def effects_headline(data: HeadEffects, verb: str, unit: str) -> str:
    """Which head matters most, how many matter at all, and how many would seem to by chance."""
    layer, head = data.strongest
    value, low, high = (
        fixed(float(part[layer, head]), data.decimals) for part in (data.value, data.low, data.high)
    )
    verb_of_many = "has" if data.num_helping == 1 else "have"
    if data.stands is None:
        by_chance = f"about {count(round(data.expected_by_chance))} would exclude zero by chance"
    else:
        num = int(data.stands.sum())
        by_chance = f"corrected for all heads tried, {count(num)} {'matters' if num == 1 else 'matter'}"
    return (
        f"Removing head {head + 1} of layer {layer + 1} {verb} most: {value}{unit} (95 % interval {low} to "
        f"{high}). Of {plural(data.num_heads, 'head')}, {count(data.num_helping)} {verb_of_many} an "
        f"interval above zero and {count(data.num_harming)} below; {by_chance} ({plural(data.n, 'image')})."
    )


def draw_effects(data: HeadEffects, name: str, unit: str) -> "Figure":
    """The matrix in two colours around zero; a white dot where the interval excludes zero, dark where it stands."""
    with themed(name):
        figure = new_figure(*matrix_size(data.value))
        axes, means, bar = matrix_axes(figure, data.value)
        draw_cells(axes, data.value, DIVERGING, -data.limit, data.limit)
        layers, heads = np.nonzero(data.excludes_zero)
        dots(axes, heads, layers, size=3.4, fill="white", edge="black", edge_width=0.7)
        if data.stands is not None:
            layers, heads = np.nonzero(data.stands)
            dots(axes, heads, layers, size=4.6, fill="black", edge="white", edge_width=0.9)
        means.axvline(0, color=COLOURS["line"], linewidth=1, clip_on=False)
        draw_means(means, data.layer_mean)
        colour_bar(bar, DIVERGING, -data.limit, data.limit, unit)
    return figure


def effects_table(data: HeadEffects) -> DataTable:
    """One row per layer, one column per head: the effect and its interval, a star where it excludes zero."""
    layers, heads = data.value.shape
    cells = [[_cell(data, layer, head) for head in range(heads)] for layer in range(layers)]
    return DataTable(
        columns=("Layer", *(f"Head {head + 1}" for head in range(heads))),
        rows=tuple((str(layer + 1), *row) for layer, row in enumerate(cells)),
    )


def _cell(data: HeadEffects, layer: int, head: int) -> str:
    if not np.isfinite(data.value[layer, head]):
        return NOT_KNOWN
    value, low, high = (
        fixed(float(part[layer, head]), data.decimals) for part in (data.value, data.low, data.high)
    )
    star = "**" if data.stands is not None and data.stands[layer, head] else "*"
    return f"{value}{star if data.excludes_zero[layer, head] or star == '**' else ''} ({low} to {high})"
