"""What each model answers to the same held-out signal and scene, best first: input, target, answers, scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from archaeology.data.worlds.shapes1d import Shapes1D
from archaeology.data.worlds.shapes1d_scores import scores as signal_scores
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_scores import scores as scene_scores
from archaeology.figures._theme import COLOURS, bare, colour_bar, new_figure, place, themed
from archaeology.figures._world_ink import SERIES, headline_height, title, write_at, write_headline
from archaeology.figures._world_source import SCORE_WORDS, SCORES, WorldRun, WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import number
from archaeology.figures.world_shapes1d import sample_of as sample_of_signal
from archaeology.figures.world_shapes2d import sample_of as sample_of_scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VARIANTS = ("positions_", "mechanism_")  # of one model; left out where other recipes are there
SAMPLES = {"shapes1d": "signal", "shapes2d": "scene"}


@dataclass(frozen=True)
class Answer:
    """What one model made of the sample.

    Attributes:
        recipe: Of the model.
        values: A signal, or RGB in [0, 1].
        on_sample: Its error on this sample; 1 is no averaging, NaN where nothing is to be averaged.
        held_out: Its error on all held-out samples; NaN while it is unfinished.
    """

    recipe: str
    values: Float[np.ndarray, "..."]
    on_sample: float
    held_out: float


@dataclass(frozen=True)
class Compared:
    """A sample of one world and the answers to it.

    Attributes:
        sample: Its number.
        input: A signal, or RGB in [0, 1].
        target: Likewise.
        answers: Lowest error on held-out samples first.
    """

    sample: int
    input: Float[np.ndarray, "..."]
    target: Float[np.ndarray, "..."]
    answers: list[Answer]


@dataclass(frozen=True)
class Predictions:
    """The worlds that have models."""

    worlds: dict[str, Compared]


def compute(source: WorldSource) -> Predictions | None:
    """One run of each recipe on the source's sample; None without any run."""
    worlds = {}
    if runs := kinds_of_models(source, "shapes1d"):
        sample = sample_of_signal(source)
        worlds["shapes1d"] = _compared(
            "shapes1d", sample, Shapes1D().generate(sample, 1), signal_scores, runs
        )
    if runs := kinds_of_models(source, "shapes2d"):
        sample = sample_of_scene(source)
        worlds["shapes2d"] = _compared("shapes2d", sample, Shapes2D().generate(sample, 1), scene_scores, runs)
    return Predictions(worlds) if worlds else None


def kinds_of_models(source: WorldSource, world: str) -> list[WorldRun]:
    """One run of each recipe, best first; variants and unfinished runs only where there is nothing else."""
    each = source.each(world)
    kinds = [run for run in each if not short(run.recipe, world).startswith(VARIANTS)] or each
    return [run for run in kinds if run.is_finished] or kinds


def short(recipe: str, world: str) -> str:
    """Its name without the world's."""
    return recipe.removeprefix(f"{world}_")


@torch.no_grad()
def _compared(world: str, sample: int, batch: Any, scores: Any, runs: Sequence[WorldRun]) -> Compared:
    inputs, target = batch.pair()
    answers = []
    for run in runs:
        answer = run.model(inputs)
        on_sample = scores(batch, answer)[SCORES[world]].value
        answers.append(Answer(run.recipe, _shown(answer), on_sample, run.score(SCORES[world])))
    return Compared(sample, _shown(inputs), _shown(target), answers)


def _shown(values: torch.Tensor) -> Float[np.ndarray, "..."]:
    """The only sample; of images the channels last."""
    one = values[0].double()
    return (one if one.ndim == 1 else one.movedim(0, -1)).numpy()


def headline(data: Predictions) -> str:
    """How much of the error the best and the worst leave on the sample."""
    parts = []
    for world, found in data.worlds.items():
        best, worst = found.answers[0], found.answers[-1]
        said = f"on the same {SAMPLES[world]}, {_words(best.recipe, world)} leaves {_score(best.on_sample)} of the "
        said += SCORE_WORDS[world].replace("error", "error of not averaging")
        if worst is not best:
            said += f", {_words(worst.recipe, world)} {_score(worst.on_sample)}"
        parts.append(said)
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _words(recipe: str, world: str) -> str:
    return short(recipe, world).replace("_", " ")


def _score(score: float) -> str:
    return "an unknown share" if math.isnan(score) else number(score, 2)


LEFT, GAP, WIDTH = 0.5, 0.3, 11.6
SIGNAL, CAPTION, BETWEEN = 0.95, 0.55, 0.45
MOST_IN_A_ROW, WIDEST_IMAGE = 3, 2.0
WRONGEST = 0.25  # end of the colour scale


def draw(data: Predictions) -> "Figure":
    """Signals in rows, then scenes with what is wrong in them below; input over target at the left of both."""
    said = headline(data)
    top = headline_height(WIDTH, said) + 0.1
    tall = {world: _height(world, len(found.answers)) for world, found in data.worlds.items()}
    with themed("world_predictions"):
        figure = new_figure(WIDTH, top + sum(tall.values()))
        write_headline(figure, said)
        for world, found in data.worlds.items():
            said = f"{SAMPLES[world]} {found.sample}: {SCORE_WORDS[world]} here, in brackets on all held-out samples"
            write_at(figure, 0.15, top + 0.1, f"{said} (0 perfect, 1 no averaging)", colour="muted")
            (_signals if world == "shapes1d" else _scenes)(figure, found, top)
            top += tall[world]
    return figure


def _rows(count: int) -> int:
    return max(2, math.ceil(count / MOST_IN_A_ROW))


def _side(count: int) -> float:
    return min(WIDEST_IMAGE, (WIDTH - LEFT - 0.15 - 0.15 * count) / (count + 1))


def _height(world: str, count: int) -> float:
    if world == "shapes1d":
        return BETWEEN + _rows(count) * (SIGNAL + CAPTION) + 0.15
    return BETWEEN + 2 * _side(count) + 2 * CAPTION + 0.45


def _signals(figure: "Figure", data: Compared, top: float) -> None:
    rows = _rows(len(data.answers))
    in_a_row = math.ceil(len(data.answers) / rows)
    wide = min((WIDTH - LEFT - 0.15 - in_a_row * GAP) / (in_a_row + 1), 3.6)
    top += BETWEEN + 0.2

    def panel(row: int, column: int) -> "Axes":
        axes = place(figure, LEFT + column * (wide + GAP), top + row * (SIGNAL + CAPTION), wide, SIGNAL)
        axes.fill_between(range(len(data.target)), data.target, color=COLOURS["line"], linewidth=0)
        axes.set_xlim(0, len(data.target))
        axes.set_ylim(-0.1, 1.15)
        axes.set_xticks([])
        axes.set_yticks([0, 1], ["0", "1"] if column == 0 else ["", ""])
        return axes

    first, second = panel(0, 0), panel(1, 0)
    first.plot(data.input, color=COLOURS["ink"], linewidth=1)
    title(first, "input (line), target (grey)", size=9.0)
    second.plot(data.target, color=COLOURS["ink"], linewidth=1)
    title(second, "target", size=9.0)
    for place_of, answer in enumerate(data.answers):
        axes = panel(place_of // in_a_row, 1 + place_of % in_a_row)
        axes.plot(answer.values, color=SERIES[0], linewidth=1.1)
        _caption(axes, answer, "shapes1d")


def _scenes(figure: "Figure", data: Compared, top: float) -> None:
    side = _side(len(data.answers))
    top += BETWEEN + 0.2
    below = top + side + CAPTION - 0.2
    images = [("input", data.input, top), ("target", data.target, below)]
    for words, image, at in images:
        title(_image(place(figure, LEFT, at, side, side), image), words, size=9.0)
    for place_of, answer in enumerate(data.answers):
        left = LEFT + (place_of + 1) * (side + 0.15)
        axes = _image(place(figure, left, top, side, side), answer.values.clip(0, 1))
        _caption(axes, answer, "shapes2d")
        wrong = np.abs(answer.values - data.target).mean(axis=-1).clip(0, WRONGEST)
        wrongs = place(figure, left, below, side, side)
        wrongs.imshow(wrong, cmap="magma", vmin=0, vmax=WRONGEST, interpolation="nearest")
        _empty(wrongs)
        title(wrongs, "where it is wrong", size=7.5, colour="muted")
    bar = place(figure, LEFT + side + 0.15, below + side + 0.12, 2.4, 0.09)
    colour_bar(bar, "magma", 0.0, WRONGEST, "error of a pixel, mean over channels")


def _image(axes: "Axes", image: Float[np.ndarray, "height width 3"]) -> "Axes":
    axes.imshow(image, interpolation="nearest")
    _empty(axes)
    return axes


def _empty(axes: "Axes") -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)


def _caption(axes: "Axes", answer: Answer, world: str) -> None:
    """Name, then scores, in two lines above the axes."""
    axes.annotate(
        _words(answer.recipe, world),
        (0, 1),
        xytext=(0, 14),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
    )
    scores = f"{number(answer.on_sample, 2)}  ({number(answer.held_out, 2)})"
    title(axes, scores, size=7.5, colour="muted")


def table(data: Predictions) -> DataTable:
    """The scores, on the sample and on all held-out samples."""
    rows = tuple(
        (answer.recipe, str(found.sample), number(answer.on_sample), number(answer.held_out))
        for found in data.worlds.values()
        for answer in found.answers
    )
    return DataTable(("Recipe", "Sample", "Error on this sample", "Error on all held-out samples"), rows)


world_predictions = world_figures.register("world_predictions")(
    Drawing(
        name="world_predictions",
        title="What do the models make of the same sample?",
        explanation="All models saw as many samples in training; whoever cannot bring together what lies far apart "
        "cannot draw the mean.",
        definition="A held-out sample of each world, one run of each recipe, lowest error on all held-out samples "
        "first. Scores are the amplitude error of shapes1d and the colour error of shapes2d, on this sample and on all "
        "held-out ones: 0 is perfect, 1 is not averaging at all. Recipes that vary only the positions or the mechanism "
        "are left out where others are there.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
