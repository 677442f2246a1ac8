"""How accuracy grows, against epochs, time and examples: one colour for each recipe, seeds thin, medians thick."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from archaeology.core.names import plural
from archaeology.diagnose.comparison import Comparison
from archaeology.diagnose.comparison_groups import Group
from archaeology.diagnose.comparison_levels import Reach
from archaeology.diagnose.comparison_runs import Point
from archaeology.diagnose.comparison_words import duration
from archaeology.figures._labels import Label, label_beside
from archaeology.figures._theme import new_figure, place, round_ticks, themed
from archaeology.figures._world_ink import SERIES, headline_height, title, write_at, write_headline
from archaeology.figures.drawing import DataTable, Drawing, training_figures
from archaeology.figures.words import NOT_KNOWN, count, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Quantity = Literal["epoch", "seconds", "examples"]
PANELS: tuple[Quantity, ...] = ("epoch", "seconds", "examples")
WIDE, TALL, GAP, LEFT = 2.5, 2.9, 0.35, 0.6  # inches
SCALES = ((5400.0, 3600.0, "hours"), (90.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True)
class RecipeCurve:
    """What the runs of a recipe reached.

    Attributes:
        name: Of the group of runs.
        seeds: The measurements of each run.
        median: Over the runs, at epochs that all of them have; empty for a lone run, which is its own.
    """

    name: str
    seeds: list[list[Point]]
    median: list[Point]


@dataclass(frozen=True)
class TrainingCurves:
    """Everything drawn.

    Attributes:
        curves: Of each recipe.
        reached: What each needed to each level.
        sentence: What they show.
    """

    curves: list[RecipeCurve]
    reached: list[Reach]
    sentence: str


def compute(source: Comparison) -> TrainingCurves:
    """The measurements of all runs."""
    curves = [
        RecipeCurve(group.name, [list(run.points) for run in group.runs], _median(group))
        for group in source.groups
    ]
    return TrainingCurves(curves, list(source.reached), _sentence(source))


def _median(group: Group) -> list[Point]:
    if len(group.runs) == 1:
        return []
    each = [{round(point.epoch, 6): point for point in run.points} for run in group.runs]
    shared = sorted(set.intersection(*(set(points) for points in each)))
    return [_middle([points[epoch] for points in each]) for epoch in shared]


def _middle(points: list[Point]) -> Point:
    seconds, examples, accuracy = (
        float(np.median([getattr(point, name) for point in points]))
        for name in ("seconds", "examples", "accuracy")
    )
    return Point(points[0].epoch, seconds, round(examples), accuracy)


def _sentence(source: Comparison) -> str:
    """Who is there first, if that can be told; else how far everybody came."""
    told = [each for each in source.leads if each.task == "level" and each.is_clear]
    if told:
        found = told[0]
        others = [f"{name} {duration(value)}" for name, value in found.values.items() if name != found.leader]
        first = duration(found.values[found.leader])
        return f"{found.leader} is first at {percent(found.at, 0)}, after {first} on average; {', '.join(others)}."
    best = {
        group.name: max(point.accuracy for run in group.runs for point in run.points)
        for group in source.groups
    }
    return (
        "Highest accuracy seen: "
        + ", ".join(f"{name} {percent(value)}" for name, value in best.items())
        + "."
    )


def headline(data: TrainingCurves) -> str:
    """Who is first."""
    return data.sentence


def draw(data: TrainingCurves) -> "Figure":
    """Three panels with the same accuracies."""
    names = max(len(curve.name) for curve in data.curves)
    width = LEFT + len(PANELS) * WIDE + (len(PANELS) - 1) * GAP + 0.6 + 0.075 * (names + 8)
    top = headline_height(width, data.sentence) + 0.6
    with themed("training_curves"):
        figure = new_figure(width, top + TALL + 0.55)
        write_headline(figure, data.sentence)
        runs = max(len(curve.seeds) for curve in data.curves)
        thick = f"thick: median of {plural(runs, 'seed')}, thin: each" if runs > 1 else "one seed each"
        said = f"Accuracy on test images (at most 2,000), measured after every epoch; {thick}"
        write_at(figure, 0.15, top - 0.5, said, colour="muted")
        for panel, quantity in enumerate(PANELS):
            axes = place(figure, LEFT + panel * (WIDE + GAP), top, WIDE, TALL)
            labels = _panel(axes, data, quantity)
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            if panel:
                axes.tick_params(axis="y", labelleft=False)
            if panel == len(PANELS) - 1:
                label_beside(axes, labels)
    return figure


def _panel(axes: "Axes", data: TrainingCurves, quantity: Quantity) -> list[Label]:
    """Draw one panel; labels for the ends of its lines."""
    longest = max(_of(point, quantity) for curve in data.curves for seed in curve.seeds for point in seed)
    per, unit = _unit(quantity, longest)
    labels = []
    for order, curve in enumerate(data.curves):
        colour = SERIES[order % len(SERIES)]
        main = curve.median or curve.seeds[0]
        for seed in curve.seeds:
            _line(axes, seed, quantity, per, color=colour, linewidth=0.6, alpha=0.5)
        _line(axes, main, quantity, per, color=colour, linewidth=2, marker="o", markersize=2.5)
        last = main[-1]
        labels.append(
            Label(curve.name, _of(last, quantity) / per, last.accuracy, colour, percent(last.accuracy))
        )
    axes.set_xlim(0, 1.03 * longest / per)
    axes.grid()
    axes.xaxis.set_major_locator(round_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    title(axes, f"against {unit}")
    return labels


def _line(axes: "Axes", points: list[Point], quantity: Quantity, per: float, **look: object) -> None:
    axes.plot([_of(point, quantity) / per for point in points], [point.accuracy for point in points], **look)  # pyright: ignore[reportArgumentType]


def _of(point: Point, quantity: Quantity) -> float:
    return float(getattr(point, quantity))


def _unit(quantity: Quantity, longest: float) -> tuple[float, str]:
    """What an axis counts in, and how that is called."""
    if quantity == "epoch":
        return 1.0, "epochs"
    if quantity == "seconds":
        return next((per, f"wall time ({words})") for least, per, words in SCALES if longest >= least)
    return (1e3, "thousand examples seen") if longest >= 1e4 else (1.0, "examples seen")


COLUMNS = ("Recipe", "Accuracy", "Runs there", "Time (median)", "Examples", "Epochs")


def table(data: TrainingCurves) -> DataTable:
    """What each recipe needed to each level."""
    return DataTable(COLUMNS, tuple(_row(each) for each in data.reached))


def _row(each: Reach) -> tuple[str, ...]:
    there = f"{len(each.crossings)} of {each.num_runs}"
    needed = (NOT_KNOWN,) * 3
    if each.crossings:
        needed = (duration(each.seconds), count(round(each.examples)), number(each.epochs))
    return (each.group, percent(each.level, 0), there, *needed)


training_curves = training_figures.register("training_curves")(
    Drawing(
        name="training_curves",
        title="How fast does accuracy grow?",
        explanation="The same measurements three times: recipes may agree in what an epoch teaches and differ in what "
        "it costs.",
        definition="Accuracy on at most 2,000 test images after every epoch, so a level counts as reached at the first "
        "epoch's end at or above it; times and examples are medians over the runs that came there. Wall time depends "
        "on what else the machine did.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
