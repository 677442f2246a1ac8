"""When is a circle red enough to stay? Recolour one and watch the answer and the heads; then remove heads."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from archaeology.ablate.colour_filter import colour_filter_map
from archaeology.ablate.colour_rule import colour_rule
from archaeology.core.bootstrap import Intervals
from archaeology.core.names import plural
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.figures._labels import Label, label_beside
from archaeology.figures._theme import COLOURS, DIVERGING, colour_bar, new_figure, place, themed
from archaeology.figures._world_heads import (
    LayerName,
    draw_heads,
    heads_size,
    layer_name,
    name_layers,
    patch_size_of,
    run_with_heads,
)
from archaeology.figures._world_ink import MARK, SERIES, headline_height, title, write_at, write_headline
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import NOT_KNOWN, fixed, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_SHOWN = 4  # heads whose attention is drawn
BRIGHTNESS = 120  # of the circles painted under the axis


@dataclass(frozen=True)
class RuleOfColour:
    """What a model and its heads make of the colour of a filled circle.

    Attributes:
        recipe: Of the model.
        seed: Of its training.
        layers: In the order of the pass.
        levels: Red dominance that the circle is given.
        drawn: How far the answer goes from the background (0) to the group's colour (1) at each level.
        attention: Of the other red circles on this one, over chance, `(level, layer, head)`.
        step: Mean of `attention` over levels above 0 less mean over those below.
        decision: Rise of 1 - balanced accuracy of vanishing without the head; NaN where no circle is to vanish.
        circle_colour: Rise of the colour error of filled circles that stay.
        other_colour: Rise of the colour error of the other kinds.
        num_scenes: Scenes with a circle that was recoloured.
        num_samples: Scenes on which heads were removed.
    """

    recipe: str
    seed: int
    layers: list[LayerName]
    levels: list[int]
    drawn: Intervals
    attention: Intervals
    step: Intervals
    decision: Intervals
    circle_colour: Intervals
    other_colour: Intervals
    num_scenes: int
    num_samples: int

    @property
    def most(self) -> list[tuple[int, int]]:
        """Layer and head of those whose attention changes most, largest step first."""
        size = np.where(np.isfinite(self.step.value), np.abs(self.step.value), -1.0)
        order = np.argsort(-size, axis=None, kind="stable")[: min(NUM_SHOWN, int((size >= 0).sum()))]
        return [(int(at) // size.shape[1], int(at) % size.shape[1]) for at in order]


def compute(source: WorldSource) -> RuleOfColour | None:
    """The best encoder-decoder of the source on its first scenes; None without one."""
    run = run_with_heads(source, "shapes2d")
    if run is None:
        return None
    world = Shapes2D()
    rule = colour_rule(run.model, world, patch_size_of(run), count=source.count)
    removed = colour_filter_map(run.model, world.generate(0, source.count))
    return RuleOfColour(
        recipe=run.recipe,
        seed=run.seed,
        layers=[layer_name(layer) for layer in rule.layers],
        levels=list(rule.levels),
        drawn=rule.shown(),
        attention=rule.attention(),
        step=rule.step(),
        decision=removed.decision,
        circle_colour=removed.circle_colour,
        other_colour=removed.other_colour,
        num_scenes=len(rule.scene),
        num_samples=source.count,
    )


def headline(data: RuleOfColour) -> str:
    """The step in the answer, the largest in attention, and what the costliest head costs."""
    before, after = _around_zero(data)
    layer, head = data.most[0]
    step = float(data.step.value[layer, head])
    costly = _costliest(data.circle_colour.value)
    said = (
        f"As its red dominance goes from {_level(data.levels[before])} to {_level(data.levels[after])}, a filled "
        f"circle goes from {percent(float(data.drawn.value[before]), 0)} to "
        f"{percent(float(data.drawn.value[after]), 0)} painted, and head {head + 1} of {data.layers[layer].words} "
        f"gives it {'more' if step >= 0 else 'less'} attention when it is red, by {number(abs(step), 2)} times chance; "
        "removing one head adds at most "
    )
    known = data.decision.value[np.isfinite(data.decision.value)]
    if len(known):
        said += f"{fixed(float(known.max()), 3)} to the error of this decision and "
    return f"{said}{fixed(float(data.circle_colour.value[costly]), 3)} to the colour error of the circles."


def _level(level: int) -> str:
    return f"+{level}" if level > 0 else fixed(float(level), 0)


def _around_zero(data: RuleOfColour) -> tuple[int, int]:
    """Places of the last level below zero and of the first above."""
    levels = np.array(data.levels)
    below = np.where(levels < 0, levels, -np.inf).argmax()
    above = np.where(levels > 0, levels, np.inf).argmin()
    return int(below), int(above)


def _costliest(value: Float[np.ndarray, "layer head"]) -> tuple[int, int]:
    known = np.where(np.isfinite(value), value, -np.inf)
    layer, head = np.unravel_index(int(known.argmax()), known.shape)
    return int(layer), int(head)


LEFT, WIDE, TALL, BETWEEN = 1.0, 3.7, 1.55, 0.42
RIGHT, GAP, ROW_NAMES = 1.75, 0.35, 1.15


def draw(data: RuleOfColour) -> "Figure":
    """At the left answer and attention against red dominance, at the right two maps of what removing a head costs."""
    said = headline(data)
    across, down = max(heads_size(data.step.value)[0], 2.25), _down(data)
    width = LEFT + WIDE + RIGHT + ROW_NAMES + 2 * across + GAP + 0.2
    top = headline_height(width, said) + 0.75
    height = max(2 * TALL + BETWEEN + 0.72, down + 0.95)
    with themed("world_colour_rule"):
        figure = new_figure(width, top + height)
        write_headline(figure, said)
        whose = f"{data.recipe.replace('_', ' ')}, seed {data.seed}"
        words = f"{whose}: one circle recoloured in {plural(data.num_scenes, 'scene')}, all else alike"
        write_at(figure, 0.15, top - 0.6, words, colour="muted")
        right = LEFT + WIDE + RIGHT + ROW_NAMES
        words = f"heads removed one by one, {plural(data.num_samples, 'scene')}"
        write_at(figure, right, top - 0.6, words, colour="muted")
        _answers(place(figure, LEFT, top, WIDE, TALL), data)
        _looks(place(figure, LEFT, top + TALL + BETWEEN, WIDE, TALL), data)
        _maps(figure, data, right, top, across)
    return figure


def _down(data: RuleOfColour) -> float:
    """Height of the maps: as the panels at the left where that is enough."""
    return max(heads_size(data.step.value)[1], 2 * TALL + BETWEEN - 0.55)


def _answers(axes: "Axes", data: RuleOfColour) -> None:
    _line(axes, data.levels, data.drawn, (), COLOURS["ink"])
    _ground(axes, data.levels)
    low, high = float(data.drawn.low.min()), float(data.drawn.high.max())
    axes.set_ylim(min(-0.1, low - 0.1), max(1.12, high + 0.1))
    axes.set_yticks([0, 1], ["vanished  0", "painted  1"])
    axes.set_xticks(data.levels, [""] * len(data.levels))
    for share, words in ((0.25, "must vanish"), (0.76, "must be painted")):
        axes.text(share, 0.45, words, transform=axes.transAxes, ha="center", color=COLOURS["muted"])
    title(axes, "what becomes of the circle in the answer", size=9.0)


def _looks(axes: "Axes", data: RuleOfColour) -> None:
    labels: list[Label] = []
    for colour, (layer, head) in zip(SERIES, data.most, strict=False):
        _line(axes, data.levels, data.attention, (layer, head), colour)
        at, end = float(data.levels[-1]), float(data.attention.value[-1, layer, head])
        labels.append(Label(f"{data.layers[layer].short}, head {head + 1}", at, end, colour))
    axes.set_ylim(bottom=0)
    _ground(axes, data.levels)
    axes.axhline(1, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_ylabel("times chance", labelpad=2)
    axes.set_xticks(data.levels, [_level(level) for level in data.levels], fontsize=7.5)
    _swatches(axes, data.levels)
    axes.set_xlabel("red dominance: red less the larger of green and blue", labelpad=2)
    title(axes, "attention of the other red circles on it (dotted: chance)", size=9.0)
    label_beside(axes, labels, size=8.0, gap=0.05)


def _line(axes: "Axes", levels: list[int], found: Intervals, at: tuple[int, ...], colour: str) -> None:
    where = (slice(None), *at)
    axes.fill_between(levels, found.low[where], found.high[where], color=colour, alpha=0.2, linewidth=0)
    axes.plot(levels, found.value[where], color=colour, linewidth=1.6, marker="o", markersize=3.5)


def _ground(axes: "Axes", levels: list[int]) -> None:
    """Where the rule lets the circle stay, in a faint red; a line where it turns."""
    axes.set_xlim(1.06 * min(levels), 1.06 * max(levels))
    axes.axvspan(0, 1.06 * max(levels), color=MARK, alpha=0.07, linewidth=0)
    axes.axvline(0, color=COLOURS["ink"], linewidth=1, linestyle=(0, (4, 3)))


def _swatches(axes: "Axes", levels: list[int]) -> None:
    """A circle of its colour at each level, on the upper edge."""
    for level in levels:
        other = BRIGHTNESS - level / 3
        rgb = tuple(min(max(part / 255, 0.0), 1.0) for part in (other + level, other, other))
        look = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
        axes.plot([level], [1.26], "o", markersize=8, color=rgb, markeredgewidth=0, **look)


def _maps(figure: "Figure", data: RuleOfColour, left: float, top: float, across: float) -> None:
    down = _down(data)
    maps = (("decision: stay or vanish", data.decision), ("colour of circles that stay", data.circle_colour))
    most = max(
        1e-3, *(float(np.abs(found.value[np.isfinite(found.value)]).max(initial=0)) for _, found in maps)
    )
    for number_of, (words, found) in enumerate(maps):
        axes = place(figure, left + number_of * (across + GAP), top, across, down)
        written = [[_short(float(value)) for value in row] for row in found.value]
        marked = _costliest(found.value) if number_of else None
        draw_heads(axes, found.value, written, (DIVERGING, -most, most), marked)
        title(axes, words, size=9.0)
        if not number_of:
            name_layers(axes, [layer.short for layer in data.layers])
    bar = place(figure, left, top + down + 0.42, 2 * across + GAP, 0.1)
    colour_bar(bar, DIVERGING, -most, most, "rise of the error without the head (pink: the largest)")


def _short(value: float) -> str:
    return "0" if abs(value) < 5e-4 else fixed(value, 3)


def table(data: RuleOfColour) -> DataTable:
    """The answer at every level, then every head."""
    answers = tuple(
        (f"Answer at {_level(level)}", _cell(data.drawn, place_of), *(NOT_KNOWN,) * 4)
        for place_of, level in enumerate(data.levels)
    )
    heads = tuple(
        (
            f"{data.layers[layer].short}, head {head + 1}",
            NOT_KNOWN,
            *(
                _cell(found, layer, head)
                for found in (data.step, data.decision, data.circle_colour, data.other_colour)
            ),
        )
        for layer, head in np.argwhere(np.isfinite(data.step.value)).tolist()
    )
    columns = (
        *("Level or head", "Painted, 0 to 1", "Step of attention, times chance"),
        *("Rise: decision", "Rise: colour of circles", "Rise: colour of other kinds"),
    )
    return DataTable(columns, (*answers, *heads))


def _cell(found: Intervals, *at: int) -> str:
    one = found.at(*at)
    if not np.isfinite(one.value):
        return NOT_KNOWN
    return f"{fixed(one.value, 3)} ({fixed(one.low, 3)} to {fixed(one.high, 3)})"


world_colour_rule = world_figures.register("world_colour_rule")(
    Drawing(
        name="world_colour_rule",
        title="When is a circle red enough to stay, and which heads decide it?",
        explanation="Only filled circles with more red than green and blue are painted; nothing but the colour of one "
        "circle is changed, so whatever changes with it was caused by its colour.",
        definition="In each scene with two filled circles, one of them red, one is recoloured at the same brightness "
        "and the model run again. Painted: how far the answer goes from the background (0) to the group's colour (1) "
        "inside it. Attention: share of the attention of the other red circles' patches that falls on its patches, "
        "over its share of the patches, for the four heads that change most. Removing a head replaces its answer by "
        "its mean; the decision's error is 1 less the balanced accuracy of vanishing (0.5 is a coin), that of the "
        "colour 0 for perfect and 1 for no averaging. 95 % bootstrap intervals over scenes.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
