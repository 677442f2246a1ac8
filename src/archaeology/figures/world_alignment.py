"""Is the head that looks at the evidence the one that matters? Group alignment beside what removing a head costs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.ablate.head_map import head_map
from archaeology.ablate.world_heads import ablate_world_heads
from archaeology.core.bootstrap import Intervals
from archaeology.core.intervals import Interval
from archaeology.data.worlds.shapes1d import Shapes1D
from archaeology.data.worlds.shapes1d_scores import scores as signal_scores
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_scores import scores as scene_scores
from archaeology.figures._theme import COLOURS, SEQUENTIAL, colour_bar, new_figure, place, round_ticks, themed
from archaeology.figures._world_heads import (
    LayerName,
    draw_heads,
    heads_size,
    layer_name,
    name_layers,
    patch_size_of,
    run_with_heads,
)
from archaeology.figures._world_ink import MARK, headline_height, title, write_at, write_headline
from archaeology.figures._world_source import SCORE_WORDS, SCORES, WorldRun, WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import NOT_KNOWN, count, fixed, number
from archaeology.stats.aligned_heads import align_heads

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WANTED = 3.0  # times chance
COST_COLOURS = "Oranges"


@dataclass(frozen=True)
class HeadsOfModel:
    """Where the heads of one model look, and what they are worth.

    Attributes:
        recipe: Of the model.
        seed: Of its training.
        layers: In the order of the pass.
        aligned: Attention on other evidence over chance, `(layer, head)`; NaN beyond a layer's last head.
        rise: Of the world's error when a head is replaced by its mean; likewise.
        best: Layer and head that look most at other evidence, from 0.
        median: Rise of the median head.
        above: By how much the rise of the best head lies above the median one's.
        num_samples: Held-out samples that were measured.
    """

    recipe: str
    seed: int
    layers: list[LayerName]
    aligned: Intervals
    rise: Intervals
    best: tuple[int, int]
    median: float
    above: Interval
    num_samples: int


@dataclass(frozen=True)
class Alignment:
    """The worlds that have a model with attention."""

    worlds: dict[str, HeadsOfModel]


def compute(source: WorldSource) -> Alignment | None:
    """The best attention model of each world; None without any."""
    found: dict[str, HeadsOfModel] = {}
    if run := run_with_heads(source, "shapes1d"):
        found["shapes1d"] = _measured("shapes1d", run, Shapes1D().generate(0, source.count), signal_scores)
    if run := run_with_heads(source, "shapes2d"):
        found["shapes2d"] = _measured("shapes2d", run, Shapes2D().generate(0, source.count), scene_scores)
    return Alignment(found) if found else None


def _measured(world: str, run: WorldRun, batch: Any, scores: Any) -> HeadsOfModel:
    ablation = ablate_world_heads(run.model, batch, scores)
    parts = [
        layer.alignment.others.intervals() for layer in align_heads(run.model, batch, patch_size_of(run))
    ]
    value, low, high = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "low", "high")
    )
    aligned = head_map(ablation.layers, Intervals(value, low, high, len(batch)))
    known = np.where(np.isfinite(aligned.value), aligned.value, -np.inf)
    layer, head = (int(at) for at in np.unravel_index(int(known.argmax()), known.shape))
    rise = ablation.rise(SCORES[world])
    return HeadsOfModel(
        recipe=run.recipe,
        seed=run.seed,
        layers=[layer_name(layer) for layer in ablation.layers],
        aligned=aligned,
        rise=rise,
        best=(layer, head),
        median=float(np.nanmedian(rise.value)),
        above=ablation.above_median(SCORES[world]).at(layer, head),
        num_samples=len(batch),
    )


def headline(data: Alignment) -> str:
    """The best head of each world, and what it is worth."""
    text = "; ".join(_said(world, found) for world, found in data.worlds.items())
    return f"{text[0].upper()}{text[1:]}."


def _said(world: str, found: HeadsOfModel) -> str:
    layer, head = found.best
    return (
        f"on {world}, head {head + 1} of {found.layers[layer].words} looks at evidence in other shapes "
        f"{number(float(found.aligned.value[found.best]), 2)} times as much as chance, and removing it adds "
        f"{fixed(float(found.rise.value[found.best]), 3)} to the {SCORE_WORDS[world]} (the median head "
        f"{fixed(found.median, 3)})"
    )


LEFT, GAP, SCATTER, TALL = 1.3, 0.5, 3.3, 1.75
CAPTION, BELOW = 0.58, 0.84


def draw(data: Alignment) -> "Figure":
    """For each world where the heads look, what removing them costs, and the one against the other."""
    said = headline(data)
    across = max(heads_size(found.aligned.value)[0] for found in data.worlds.values())
    across = max(across, 2.25)
    width = LEFT + 2 * across + 2 * GAP + 0.45 + SCATTER + 0.75
    top = headline_height(width, said) + 0.08
    tall = {world: _tall(found) for world, found in data.worlds.items()}
    with themed("world_alignment"):
        figure = new_figure(width, top + sum(tall.values()) + len(tall) * (CAPTION + BELOW))
        write_headline(figure, said)
        for world, found in data.worlds.items():
            words = (
                f"{world}: {found.recipe.removeprefix(f'{world}_').replace('_', ' ')}, seed {found.seed}, "
                f"{count(found.num_samples)} held-out samples; pink is the head that looks most at the evidence"
            )
            write_at(figure, 0.15, top + 0.06, words, colour="muted")
            _draw_world(figure, world, found, top + CAPTION, across)
            top += tall[world] + CAPTION + BELOW
    return figure


def _tall(found: HeadsOfModel) -> float:
    return max(TALL, heads_size(found.aligned.value)[1])


def _draw_world(figure: "Figure", world: str, found: HeadsOfModel, top: float, across: float) -> None:
    down = heads_size(found.aligned.value)[1]
    looks = place(figure, LEFT, top, across, down)
    highest = max(WANTED, float(np.nanmax(found.aligned.value)))
    written = _written(found.aligned.value, 1)
    draw_heads(looks, found.aligned.value, written, (SEQUENTIAL, 0.0, highest), found.best)
    name_layers(looks, [layer.short for layer in found.layers])
    title(looks, "looks at evidence in other shapes", size=9.0)
    bar = place(figure, LEFT, top + down + 0.36, across, 0.09)
    colour_bar(bar, SEQUENTIAL, 0.0, highest, "times chance (line: 3)")
    bar.axvline(WANTED, color=COLOURS["ink"], linewidth=1.6)
    at = LEFT + across + GAP
    costs = place(figure, at, top, across, down)
    most = max(float(np.nanmax(found.rise.value)), 1e-3)
    draw_heads(costs, found.rise.value, _written(found.rise.value, 3), (COST_COLOURS, 0.0, most), found.best)
    title(costs, "cost of removing the head", size=9.0)
    bar = place(figure, at, top + down + 0.36, across, 0.09)
    colour_bar(bar, COST_COLOURS, 0.0, most, f"rise of the {SCORE_WORDS[world]}")
    axes = place(figure, at + across + GAP + 0.45, top, SCATTER, _tall(found))
    _scatter(axes, world, found)


def _written(value: np.ndarray, decimals: int) -> list[list[str]]:
    return [[fixed(float(one), decimals) for one in row] for row in value]


def _scatter(axes: "Axes", world: str, found: HeadsOfModel) -> None:
    for at in np.argwhere(np.isfinite(found.rise.value)).tolist():
        spot = at[0], at[1]
        is_best = spot == found.best
        x, y = float(found.aligned.value[spot]), float(found.rise.value[spot])
        colour = MARK if is_best else COLOURS["vit"]
        ends = [float(found.rise.low[spot]), float(found.rise.high[spot])]
        axes.plot([x, x], ends, color=colour, linewidth=1.2, alpha=1.0 if is_best else 0.5)
        axes.plot([x], [y], "o", color=colour, markersize=6.5 if is_best else 4.5, zorder=3 + is_best)
    axes.axvline(WANTED, color=COLOURS["ink"], linewidth=1, linestyle=(0, (4, 3)))
    axes.axhline(found.median, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xlim(0, 1.08 * max(WANTED, float(np.nanmax(found.aligned.value))))
    axes.set_ylim(bottom=min(0.0, 1.2 * float(np.nanmin(found.rise.low))))
    note = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "fontsize": 8}
    axes.annotate("3 times chance", (WANTED, 1), xytext=(0, 2), ha="center", annotation_clip=False, **note)
    axes.annotate(
        "median\nhead",
        (1, found.median),
        xycoords=axes.get_yaxis_transform(),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=COLOURS["muted"],
        annotation_clip=False,
    )
    axes.yaxis.set_major_locator(round_ticks())
    axes.grid()
    axes.set_xlabel("attention on evidence in other shapes, times chance", labelpad=2)
    axes.set_ylabel(f"rise of the {SCORE_WORDS[world]}\nwithout the head, 95 %", labelpad=3)


def table(data: Alignment) -> DataTable:
    """Every head: where it looks and what it is worth, with intervals."""
    rows = tuple(
        (
            f"{world}, {found.layers[layer].short}, head {head + 1}",
            _cell(found.aligned, layer, head),
            _cell(found.rise, layer, head),
        )
        for world, found in data.worlds.items()
        for layer, head in np.argwhere(np.isfinite(found.rise.value)).tolist()
    )
    return DataTable(
        ("Head", "Attention on evidence in other shapes, times chance", "Rise of the error without it"), rows
    )


def _cell(found: Intervals, layer: int, head: int) -> str:
    one = found.at(layer, head)
    if not np.isfinite(one.value):
        return NOT_KNOWN
    return f"{fixed(one.value, 3)} ({fixed(one.low, 3)} to {fixed(one.high, 3)})"


world_alignment = world_figures.register("world_alignment")(
    Drawing(
        name="world_alignment",
        title="Is the head that looks at the evidence the one that matters?",
        explanation="A head that finds the other shapes whose heights or colours count gives them more attention than "
        "chance would; if the model uses what it finds, removing the head hurts.",
        definition="Group alignment: attention from the patches of each shape to the patches of the other shapes that "
        "are its evidence, summed over shapes and divided by what uniform attention would give. Cost: rise of the "
        "amplitude error of shapes1d or the colour error of shapes2d (0 is perfect, 1 is no averaging) when the head's "
        "answer is replaced by its mean. Both on the same held-out samples, with 95 % bootstrap intervals over "
        "samples. The finished run with the least error is shown; variants of positions and mechanism are left out "
        "where others are there.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
