"""What cheaper attention gives up: its error against exact attention, and the time it takes instead."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from archaeology.attention import mechanisms
from archaeology.core.intervals import Interval
from archaeology.figures._labels import RELATION_COLOURS, Label, label_beside, write_key, write_verdict
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, zoo_figures
from archaeology.figures.words import NOT_KNOWN, count, number
from archaeology.zoo.directory import ZooRun
from archaeology.zoo.errors import MEAN
from archaeology.zoo.inputs import KINDS
from archaeology.zoo.subject import DENSE
from archaeology.zoo.summary import Error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INPUT_WORDS = {
    "structured": "an image: near tokens and tokens of a kind match",
    "random": "no structure: independent numbers",
}
FLOOR, CEILING = 0.01, 10.0  # of the axis; what is exact but for rounding stands on the floor
WIDTH, HEIGHT = 2.5, 2.3


@dataclass(frozen=True)
class Point:
    """One mechanism on one kind of input."""

    name: str
    relation: str
    error: Interval
    relative_time: float


@dataclass(frozen=True)
class Panel:
    """One kind of input, at one sharpness.

    Attributes:
        input: "structured" or "random".
        score_std: Standard deviation of the scores.
        points: All mechanisms that were timed at this length.
        mean_error: Of an answer that is the mean of all values.
    """

    input: str
    score_std: float
    points: list[Point]
    mean_error: float


@dataclass(frozen=True)
class ErrorsAndCosts:
    """All panels, at the longest length with errors.

    Attributes:
        length: Tokens.
        head_dim: Features of a head.
        panels: Structured input first, flat attention first.
        verdict: What they show, in a sentence.
    """

    length: int
    head_dim: int
    panels: list[Panel]
    verdict: str


def compute(run: ZooRun) -> ErrorsAndCosts | None:
    """Errors at the longest length at which more than dense attention has one; None if there is none."""
    known = [
        error
        for error in run.summary.errors
        if error.mechanism not in (MEAN, DENSE) and error.relative_time is not None
    ]
    if not known:
        return None
    length = max(error.length for error in known)
    panels = [
        _panel(run.summary.errors, length, kind, score_std)
        for kind in KINDS
        for score_std in sorted(run.config.score_stds)
    ]
    return ErrorsAndCosts(length, run.config.head_dim, panels, verdict(panels))


def _panel(errors: list[Error], length: int, kind: str, score_std: float) -> Panel:
    here = [
        error for error in errors if (error.length, error.input, error.score_std) == (length, kind, score_std)
    ]
    points = [
        Point(
            error.mechanism, mechanisms.get(error.mechanism).facts.relation, error.error, error.relative_time
        )
        for error in here
        if error.mechanism != MEAN and error.relative_time is not None
    ]
    return Panel(
        kind, score_std, points, next(error.error.value for error in here if error.mechanism == MEAN)
    )


def verdict(panels: list[Panel]) -> str:
    """How many are worth more than the mean of the values, with structure and without."""
    useful: dict[str, set[str]] = {kind: set() for kind in KINDS}
    cheaper = {point.name for panel in panels for point in panel.points if point.relation != "exact"}
    for panel in panels:
        useful[panel.input] |= {
            point.name
            for point in panel.points
            if point.name in cheaper and point.error.value < panel.mean_error
        }
    with_structure, without = (len(useful[kind]) for kind in KINDS)
    return (
        f"Where there is structure, {with_structure} of {len(cheaper)} come nearer to exact attention than the mean of "
        f"all values does; without structure, {without}."
    )


def headline(data: ErrorsAndCosts) -> str:
    """How many are worth more than the mean."""
    return data.verdict


def draw(data: ErrorsAndCosts) -> "Figure":
    """One panel for each input and sharpness, the same scales in all; lower left is better."""
    across = max(1, len(data.panels) // len(KINDS))
    width, height = 0.7 + across * (WIDTH + 2.0), 0.9 + len(KINDS) * (HEIGHT + 0.95)
    times = [point.relative_time for panel in data.panels for point in panel.points]
    with themed("zoo_error"):
        figure = new_figure(width, height)
        write_verdict(figure, data.verdict)
        write_key(figure, 0.58, {point.relation for panel in data.panels for point in panel.points})
        for i, panel in enumerate(data.panels):
            row, column = divmod(i, across)
            axes = place(figure, 0.7 + column * (WIDTH + 2.0), 1.3 + row * (HEIGHT + 0.9), WIDTH, HEIGHT)
            _draw_panel(axes, panel, (min(times) / 1.5, max(times) * 1.5))
            if row == len(KINDS) - 1:
                axes.set_xlabel(f"time at {count(data.length)} tokens (dense = 1)")
            if column == 0:
                axes.set_ylabel("relative error")
    return figure


def _draw_panel(axes: "Axes", panel: Panel, limits: tuple[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(FLOOR, CEILING)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid()
    axes.minorticks_off()
    axes.axhline(panel.mean_error, color=COLOURS["muted"], linewidth=1, linestyle="--")
    axes.annotate(
        "mean of all values",
        (0.98, panel.mean_error),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=7,
        color=COLOURS["muted"],
    )
    labels = []
    for point in panel.points:
        y = min(max(point.error.value, FLOOR), CEILING)
        colour = RELATION_COLOURS[point.relation]
        axes.plot(
            [point.relative_time], [y], "o", color=COLOURS[colour], markersize=5, clip_on=False, zorder=3
        )
        note = "exact" if point.error.value < FLOOR else number(point.error.value, 2)
        labels.append(Label(point.name, point.relative_time, y, colour, note, point.name == DENSE))
    label_beside(axes, labels, size=7.0)
    axes.set_title(
        f"{INPUT_WORDS[panel.input]}\nscores with standard deviation {panel.score_std:g}",
        loc="left",
        fontsize=8.5,
        color=COLOURS["ink"],
    )


def table(data: ErrorsAndCosts) -> DataTable:
    """Error with its interval on every input."""
    names = [point.name for point in data.panels[0].points]
    columns = ("Mechanism", "Time against dense")
    n = data.panels[0].points[0].error.n
    columns += tuple(
        f"Error (95 % interval, n = {n}), {panel.input} input, score std {panel.score_std:g}"
        for panel in data.panels
    )
    rows = []
    for name in names:
        points = [
            next((point for point in panel.points if point.name == name), None) for panel in data.panels
        ]
        first = points[0]
        rows.append(
            (
                name,
                number(first.relative_time, 2) if first else NOT_KNOWN,
                *(_cell(point) for point in points),
            )
        )
    means = (number(panel.mean_error, 2) for panel in data.panels)
    return DataTable(columns, (*rows, (MEAN, NOT_KNOWN, *means)))


def _cell(point: Point | None) -> str:
    if point is None:
        return NOT_KNOWN
    found = point.error
    if found.value < FLOOR:
        return number(found.value, 2)
    return f"{number(found.value, 2)} ({number(found.low, 2)} to {number(found.high, 2)})"


zoo_error = zoo_figures.register("zoo_error")(
    Drawing(
        name="zoo_error",
        title="What does cheaper attention give up?",
        explanation="Lower is nearer to exact attention, further left is faster; above the dashed line, answering "
        "with the mean of all values would be nearer.",
        definition="Length of the difference to exact softmax attention (in float64, over all tokens) over the length "
        "of the exact answer, for independent values; mean over heads and inputs with a bootstrap interval. Weights "
        "and random features are as drawn at the start, untrained. Scores are scaled to the standard deviation "
        "stated. What hashes shared queries and keys is held to exact attention of its own scores. For softmax over "
        "fewer keys this is the error of leaving the others out, not a mistake. Time is of forward and backward.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
