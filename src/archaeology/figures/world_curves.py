"""How fast models learn to average: the error against the samples seen, one line for each recipe, seeds thin."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.core.names import plural
from archaeology.core.storage import read_json
from archaeology.figures._labels import Label, label_beside
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures._world_ink import SERIES, headline_height, write_at, write_headline
from archaeology.figures._world_source import SCORE_WORDS, SCORES, WorldRun, WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import count, number
from archaeology.recipes.recipe import StreamRecipe, recipes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RecipeCurves:
    """What one recipe's runs reached while they trained.

    Attributes:
        recipe: Its name.
        samples: Seen at each point; those that all seeds have.
        seeds: Error of each run at those points.
        median: Over the seeds.
    """

    recipe: str
    samples: list[int]
    seeds: list[list[float]]
    median: list[float]


@dataclass(frozen=True)
class Curves:
    """The recipes of each world, best last error first."""

    worlds: dict[str, list[RecipeCurves]]


def compute(source: WorldSource) -> Curves | None:
    """Every recipe with a finished run that wrote down its error; None without any."""
    worlds = {}
    for world, score in SCORES.items():
        found = [
            curves
            for recipe, runs in groupby(finished(source, world), key=lambda run: run.recipe)
            if (curves := _curves(recipe, list(runs), score)) is not None
        ]
        if found:
            worlds[world] = sorted(found, key=lambda curves: curves.median[-1])
    return Curves(worlds) if worlds else None


def finished(source: WorldSource, world: str) -> list[WorldRun]:
    """Runs that came to their end: where others stopped says nothing about their recipes."""
    return [run for run in source.of(world) if run.is_finished]


def _curves(recipe: str, runs: Sequence[WorldRun], score: str) -> RecipeCurves | None:
    each = [points for run in runs if (points := history(run, score))]
    if not each:
        return None
    common = sorted(set.intersection(*(set(points) for points in each)))
    if not common:
        return None
    seeds = [[points[samples] for samples in common] for points in each]
    return RecipeCurves(recipe, common, seeds, np.median(seeds, axis=0).tolist())


def history(run: WorldRun, score: str) -> dict[int, float]:
    """The error at every number of samples seen at which the run wrote it down."""
    path = run.folder / "metrics.jsonl"
    if not path.is_file():
        return {}
    size = _batch_size(run)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {line["step"] * size: float(line[score]) for line in lines if line.get(score) is not None}


def _batch_size(run: WorldRun) -> int:
    """Samples of a step: as the run was configured, else as the recipe says."""
    path: Path = run.folder / "run.json"
    known: Any = read_json(path).get("config", {}) if path.is_file() else {}
    if "batch_size" in known:
        return int(known["batch_size"])
    recipe = recipes.get(run.recipe)()
    assert isinstance(recipe, StreamRecipe)
    return recipe.config.batch_size


def headline(data: Curves) -> str:
    """Which recipe ends lowest in each world."""
    parts = []
    for world, curves in data.worlds.items():
        best = curves[0]
        said = f"{_short(best.recipe, world)} gets to {number(best.median[-1], 2)} on {world}"
        if len(curves) > 1:
            said += f", {_short(curves[-1].recipe, world)} to {number(curves[-1].median[-1], 2)}"
        parts.append(said)
    return f"Share of the error that is left after training: {'; '.join(parts)}."


def _short(recipe: str, world: str) -> str:
    return recipe.removeprefix(f"{world}_").replace("_", " ")


WIDE, LEFT, LABELS = 4.2, 0.7, 2.1


def draw(data: Curves) -> "Figure":
    """One panel for each world, both axes logarithmic, names beside the ends."""
    said = headline(data)
    width = max(len(data.worlds) * (LEFT + WIDE + LABELS) + 0.1, 7.2)
    top = headline_height(width, said) + 0.62
    tall = max(3.0, 0.17 * max(len(curves) for curves in data.worlds.values()))
    with themed("world_curves"):
        figure = new_figure(width, top + tall + 0.55)
        write_headline(figure, said)
        for panel, (world, curves) in enumerate(data.worlds.items()):
            left = LEFT + panel * (LEFT + WIDE + LABELS)
            axes = place(figure, left, top, WIDE, tall)
            _panel(axes, world, curves)
            seeds = max(len(found.seeds) for found in curves)
            words = f"thick: median of {plural(seeds, 'seed')}, thin: each" if seeds > 1 else "one seed each"
            write_at(
                figure, left, top - 0.42, f"{SCORE_WORDS[world]} on held-out samples of {world}", size=9.0
            )
            write_at(
                figure, left, top - 0.23, f"1: no averaging, 0: perfect; {words}", size=7.5, colour="muted"
            )
    return figure


def _panel(axes: "Axes", world: str, curves: list[RecipeCurves]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    labels = []
    for order, found in enumerate(curves):
        colour = SERIES[order % len(SERIES)]
        for seed in found.seeds:
            axes.plot(found.samples, seed, color=colour, linewidth=0.6, alpha=0.45)
        axes.plot(found.samples, found.median, color=colour, linewidth=2, marker="o", markersize=2)
        name = _short(found.recipe, world)
        labels.append(
            Label(name, float(found.samples[-1]), found.median[-1], colour, number(found.median[-1], 2))
        )
    axes.axhline(1, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
    axes.grid()
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, 1.15))
    axes.xaxis.set_major_formatter(lambda value, _: count(round(value)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _enough_ticks(axes)
    axes.set_xlabel("samples seen", labelpad=1)
    label_beside(axes, labels)


def _enough_ticks(axes: "Axes") -> None:
    """Where an axis spans less than two decades, also 2 and 5 in each."""
    from matplotlib.ticker import LogLocator

    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        steps = (1.0, 2.0, 5.0) if limits[1] / limits[0] < 100 else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps))


def table(data: Curves) -> DataTable:
    """Where every recipe began and ended."""
    rows = tuple(
        (
            found.recipe,
            count(found.samples[-1]),
            number(found.median[0]),
            number(found.median[-1]),
            ", ".join(number(seed[-1]) for seed in found.seeds),
        )
        for curves in data.worlds.values()
        for found in curves
    )
    return DataTable(
        ("Recipe", "Samples seen", "First error (median)", "Last error (median)", "By seed"), rows
    )


world_curves = world_figures.register("world_curves")(
    Drawing(
        name="world_curves",
        title="How fast do models learn to average?",
        explanation="Lower is better and further left is sooner; at 1 a model leaves every shape as it is.",
        definition="Amplitude error of shapes1d and colour error of shapes2d, as shares of the error of not averaging "
        "at all, on held-out samples, written down in training. Both scales are logarithmic; medians are over seeds.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
