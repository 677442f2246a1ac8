"""The world of signals explained on one sample: every shape is redrawn at the mean height of its kind."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from archaeology.data.worlds.shapes1d import Shapes1D
from archaeology.data.worlds.shapes1d_drawing import KINDS
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures._world_ink import (
    KIND_COLOURS,
    SIGNS,
    headline_height,
    title,
    write_at,
    write_headline,
)
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Signal:
    """One sample and its truth; shapes from left to right.

    Attributes:
        input: Every shape at its own height.
        target: Every shape at the mean height of its kind.
        owner: Shape at each sample; -1 for none.
        kind: Of every shape, as an index into the kinds.
        span: Start and stop of every shape, in samples.
        amplitude: Of every shape in the input.
        mean: Of the amplitudes of its kind.
    """

    input: Float[np.ndarray, " length"]
    target: Float[np.ndarray, " length"]
    owner: Int[np.ndarray, " length"]
    kind: Int[np.ndarray, " shape"]
    span: Float[np.ndarray, "shape 2"]
    amplitude: Float[np.ndarray, " shape"]
    mean: Float[np.ndarray, " shape"]


def sample_of(source: WorldSource) -> int:
    """The sample asked for, else of 256 one with two shapes of every kind whose means lie furthest apart."""
    if source.sample is not None:
        return source.sample
    layout = Shapes1D().layout(0)
    of_kind = torch.stack([layout.kind == number for number in range(len(KINDS))])
    counts = of_kind.sum(dim=2)
    means = (of_kind * layout.amplitude).sum(dim=2) / counts.clamp(min=1)
    gap = means.sort(dim=0).values.diff(dim=0).amin(dim=0)
    return int((gap * (counts >= 2).all(dim=0)).argmax())


def compute(source: WorldSource) -> Signal:
    """The sample of the source."""
    batch = Shapes1D().generate(sample_of(source), 1)
    there = batch.kind[0] >= 0
    return Signal(
        input=batch.input[0].double().numpy(),
        target=batch.target[0].double().numpy(),
        owner=batch.owner[0].numpy(),
        kind=batch.kind[0][there].numpy(),
        span=batch.span[0][there].double().numpy(),
        amplitude=batch.amplitude[0][there].double().numpy(),
        mean=batch.mean[0][there].double().numpy(),
    )


def headline(data: Signal) -> str:
    """The rule, and how many shapes it is shown on."""
    groups = len(set(data.kind.tolist()))
    return (
        f"Every shape must be redrawn at the mean height of its kind: {len(data.kind)} shapes of {groups} "
        f"kind{'s' * (groups > 1)} here."
    )


WIDE, TALL, LEFT = 6.6, 1.55, 0.65


def draw(data: Signal) -> "Figure":
    """Input above, target below, the means as lines through both, the sums spelled out at the right."""
    said = headline(data)
    width = LEFT + WIDE + 2.75
    top = headline_height(width, said) + 0.42
    with themed("world_shapes1d"):
        figure = new_figure(width, top + 2 * TALL + 1.0)
        write_headline(figure, said)
        above = place(figure, LEFT, top, WIDE, TALL)
        below = place(figure, LEFT, top + TALL + 0.45, WIDE, TALL)
        for axes, signal, words in (
            (above, data.input, "input: every shape has a height of its own (arrows: what must change)"),
            (below, data.target, "target: shapes of a kind are equally high"),
        ):
            _signal(axes, signal, data)
            title(axes, words)
            for kind in sorted(set(data.kind.tolist())):
                mean = data.mean[data.kind == kind][0]
                axes.axhline(mean, color=KIND_COLOURS[kind], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        _arrows(above, data)
        above.set_xticklabels([])
        below.set_xlabel("place in the signal (samples)", labelpad=1)
        _sums(figure, data, LEFT + WIDE + 0.2, top)
    return figure


def _signal(axes: "Axes", signal: Float[np.ndarray, " length"], data: Signal) -> None:
    places = np.arange(len(signal)) + 0.5
    for number, kind in enumerate(data.kind):
        own = data.owner == number
        axes.fill_between(places[own], signal[own], color=KIND_COLOURS[kind], alpha=0.35, linewidth=0)
    axes.plot(places, signal, color=COLOURS["ink"], linewidth=1)
    axes.set_xlim(0, len(signal))
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("height", labelpad=2)


def _arrows(axes: "Axes", data: Signal) -> None:
    for kind, (start, stop), amplitude, mean in zip(
        data.kind, data.span, data.amplitude, data.mean, strict=True
    ):
        if abs(mean - amplitude) > 0.02:
            middle = (start + stop) / 2
            look = {
                "arrowstyle": "-|>",
                "color": KIND_COLOURS[kind],
                "linewidth": 1.4,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            axes.annotate("", (middle, mean), (middle, amplitude), arrowprops=look)


def _sums(figure: "Figure", data: Signal, left: float, top: float) -> None:
    """The means as sums, one kind below the other."""
    write_at(figure, left, top - 0.25, "the rule", size=9.0, weight="bold")
    for kind in sorted(set(data.kind.tolist())):
        heights = data.amplitude[data.kind == kind]
        mean = fixed(data.mean[data.kind == kind][0], 2)
        listed = " + ".join(fixed(height, 2) for height in heights)
        sign, colour = SIGNS[KINDS[kind]], KIND_COLOURS[kind]
        write_at(
            figure, left, top, f"{sign} {KINDS[kind]}{'s' * (len(heights) > 1)}", size=9.0, colour=colour
        )
        lines = listed.split(" + ")
        rows = [" + ".join(lines[i : i + 4]) for i in range(0, len(lines), 4)]
        if len(heights) > 1:
            rows[0] = f"({rows[0]}"
            rows[-1] = f"{rows[-1]}) / {len(heights)}"
        for row, terms in enumerate(rows):
            write_at(figure, left, top + 0.2 + 0.17 * row, f"{'+ ' * (row > 0)}{terms}")
        top += 0.2 + 0.17 * len(rows)
        result = f"= {mean}" if len(heights) > 1 else "alone, so it stays"
        write_at(figure, left, top, result, weight="bold", colour=colour)
        top += 0.35


def table(data: Signal) -> DataTable:
    """Every shape with its height and the mean of its kind."""
    rows = tuple(
        (
            f"{number + 1} {KINDS[kind]}",
            f"{fixed(data.span[number, 0], 1)} to {fixed(data.span[number, 1], 1)}",
            fixed(data.amplitude[number], 3),
            fixed(data.mean[number], 3),
        )
        for number, kind in enumerate(data.kind)
    )
    return DataTable(("Shape", "Samples", "Height in the input", "Height in the target"), rows)


world_shapes1d = world_figures.register("world_shapes1d")(
    Drawing(
        name="world_shapes1d",
        title="What is to be done in shapes1d?",
        explanation="A model must find the other shapes of a kind, wherever they lie, and average their heights: no "
        "shape tells its own answer.",
        definition="A held-out sample of the world with default options and seed 0. Heights are amplitudes of "
        "triangles, rectangles and semicircles (half ellipses), from 0.2 to 1; the target shows each shape at the mean "
        "over its kind in that sample.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
