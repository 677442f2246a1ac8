"""How accurate trainings end: every run with its interval, recipes over seeds, and how far recipes lie apart."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archaeology.core.intervals import Interval
from archaeology.core.names import plural
from archaeology.diagnose.comparison import Comparison
from archaeology.diagnose.comparison_statistics import LEAST_SEEDS
from archaeology.diagnose.comparison_words import duration, of_lead
from archaeology.figures._labels import LEFT
from archaeology.figures._theme import COLOURS, bare, new_figure, place, round_ticks, themed
from archaeology.figures._world_ink import SERIES, headline_height, title, write_at, write_headline
from archaeology.figures.drawing import DataTable, Drawing, training_figures
from archaeology.figures.words import NOT_KNOWN, percent, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, ROW, GAP = 3.4, 0.42, 0.5  # inches


@dataclass(frozen=True)
class RecipeEnd:
    """Where a recipe ends.

    Attributes:
        name: Of the group of runs.
        order: Its place among all that are compared, which chooses the colour.
        seeds: Of the finished ones.
        finals: Accuracy of each, with Wilson's interval.
        mean: Over them, with Student's interval; NaN ends where there is none.
        seconds_per_epoch: Of each.
        seconds: Of each, to the end of the last epoch.
    """

    name: str
    order: int
    seeds: list[int]
    finals: list[Interval]
    mean: Interval
    seconds_per_epoch: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class Apart:
    """How far two recipes lie apart.

    Attributes:
        words: Which two, "first minus second".
        over_seeds: With Student's interval; NaN ends where there is none.
        over_images: On the same images, by a bootstrap of them; None where models were not run.
    """

    words: str
    over_seeds: Interval
    over_images: Interval | None


@dataclass(frozen=True)
class TrainingEnds:
    """Everything drawn.

    Attributes:
        ends: Of recipes with a finished run.
        apart: Of every two of them that share a seed.
        sentence: What they show.
    """

    ends: list[RecipeEnd]
    apart: list[Apart]
    sentence: str


def compute(source: Comparison) -> TrainingEnds | None:
    """Where all finished runs ended; None if none did."""
    ends = []
    for order, group in enumerate(source.groups):
        mean = source.mean(group)
        if mean is None:
            continue
        ends.append(
            RecipeEnd(
                name=group.name,
                order=order,
                seeds=[run.seed for run in group.finished],
                finals=[run.final for run in group.finished if run.final is not None],
                mean=mean,
                seconds_per_epoch=[run.seconds_per_epoch for run in group.finished],
                seconds=[run.points[-1].seconds for run in group.finished],
            )
        )
    if not ends:
        return None
    images = {(each.first, each.second): each.interval for each in source.answers}
    apart = [
        Apart(
            f"{each.first} \N{MINUS SIGN} {each.second}", each.interval, images.get((each.first, each.second))
        )
        for each in source.differences
    ]
    leads = [of_lead(lead) for lead in source.leads if lead.task == "end"]
    best = max(ends, key=lambda end: end.mean.value)
    alone = (
        f"{best.name} ends at {percent(best.mean.value)}, on average of {plural(len(best.seeds), 'seed')}."
    )
    return TrainingEnds(ends, apart, leads[0] if leads else alone)


def headline(data: TrainingEnds) -> str:
    """Who ends highest, if that can be told."""
    return data.sentence


def draw(data: TrainingEnds) -> "Figure":
    """Accuracies on the left, differences on the right."""
    names = 0.3 + 0.075 * max(len(end.name) for end in data.ends)
    pairs = 0.3 + 0.075 * max((len(each.words) for each in data.apart), default=0)
    width = LEFT + names + WIDE + 0.3 + ((GAP + pairs + WIDE) if data.apart else 0)
    top = headline_height(width, data.sentence) + 0.62
    tall = ROW * max(len(data.ends), len(data.apart))
    with themed("training_accuracy"):
        figure = new_figure(width, top + tall + 0.45)
        write_headline(figure, data.sentence)
        said = f"large: mean with Student's interval over seeds (from {LEAST_SEEDS} on); small: each run with Wilson's"
        write_at(figure, LEFT, top - 0.5, said, colour="muted", size=8.0)
        axes = place(figure, LEFT + names, top, WIDE, ROW * len(data.ends))
        _ends(axes, data.ends)
        if data.apart:
            axes = place(figure, LEFT + names + WIDE + GAP + pairs, top, WIDE, ROW * len(data.apart))
            _apart(axes, data.apart)
    return figure


def _ends(axes: "Axes", ends: list[RecipeEnd]) -> None:
    for row, end in enumerate(ends):
        colour = SERIES[end.order % len(SERIES)]
        for place_of, final in enumerate(end.finals):
            height = row + 0.12 + 0.24 * (place_of + 1) / (len(end.finals) + 1)
            _interval(axes, final, height, colour, size=2.5, line=0.7)
        if len(end.finals) > 1:
            _interval(axes, end.mean, row - 0.12, colour, size=6.0, line=2.0)
    title(axes, "final accuracy on all test images (%)")
    _rows(axes, [end.name for end in ends])


def _apart(axes: "Axes", apart: list[Apart]) -> None:
    axes.axvline(0, color=COLOURS["muted"], linewidth=0.8)
    for row, each in enumerate(apart):
        _interval(axes, each.over_seeds, row - 0.12, "ink", size=6.0, line=2.0)
        if each.over_images is not None:
            _interval(axes, each.over_images, row + 0.2, "muted", size=2.5, line=0.8)
    has_images = any(each.over_images is not None for each in apart)
    more = "; small: the same images" if has_images else ""
    title(axes, f"difference (points), paired by seed{more}")
    _rows(axes, [each.words for each in apart])


def _interval(axes: "Axes", interval: Interval, row: float, colour: str, *, size: float, line: float) -> None:
    ink = COLOURS.get(colour, colour)
    if math.isfinite(interval.low):
        axes.plot(
            [100 * interval.low, 100 * interval.high],
            [row, row],
            color=ink,
            linewidth=line,
            solid_capstyle="butt",
        )
    axes.plot([100 * interval.value], [row], "o", color=ink, markersize=size)


def _rows(axes: "Axes", names: list[str]) -> None:
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    bare(axes)
    axes.tick_params(axis="y", pad=6, labelcolor=COLOURS["ink"])
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(round_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))


COLUMNS = ("Recipe", "Seed", "Accuracy (95 % interval)", "Time", "An epoch")


def table(data: TrainingEnds) -> DataTable:
    """Every run, below it the mean of its recipe."""
    rows = []
    for end in data.ends:
        each = zip(end.seeds, end.finals, end.seconds, end.seconds_per_epoch, strict=True)
        rows += [
            (end.name, str(seed), interval_text(final), duration(total), duration(epoch))
            for seed, final, total, epoch in each
        ]
        if len(end.seeds) > 1:
            rows.append(
                (end.name, f"mean of {len(end.seeds)}", interval_text(end.mean), NOT_KNOWN, NOT_KNOWN)
            )
    return DataTable(COLUMNS, tuple(rows))


def interval_text(interval: Interval) -> str:
    """A share with its ends, or alone where it has none."""
    if not math.isfinite(interval.low):
        return f"{percent(interval.value, 2)} (no interval)"
    return f"{percent(interval.value, 2)} ({points(interval.low, 2)} to {points(interval.high, 2)})"


training_accuracy = training_figures.register("training_accuracy")(
    Drawing(
        name="training_accuracy",
        title="How accurate do trainings end, and how sure is the difference?",
        explanation="Two runs of one recipe differ by chance, so recipes differ only if they do so seed after seed.",
        definition="Final accuracy on all test images: of a run with Wilson's 95 % interval (other test images), of a "
        "recipe the mean over seeds with Student's (other seeds; from three on). Differences are paired by seed, and, "
        "where the models were run, by image with a bootstrap of the images (these models, other images).",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
