"""Ways to tell attention where tokens lie, side by side: what each place gets, and which places become alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.attention.biases import Bias
from archaeology.attention.mechanism import LayerShape
from archaeology.attention.position_scheme import SCHEMES, position_scheme
from archaeology.attention.rotary import Rotation, phases
from archaeology.core.names import joined
from archaeology.figures._theme import (
    COLOURS,
    DIVERGING,
    SEQUENTIAL,
    bare,
    colour_bar,
    new_figure,
    place,
    round_ticks,
    themed,
)
from archaeology.figures._world_ink import headline_height, write_at, write_headline
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES, GRID = 48, (9, 9)
NUM_HEADS, HEAD_DIM = 4, 16
CELL = (
    3,
    2,
)  # row and column, from 0, of the grid cell that is matched with all: not the middle, where maps are 0
SEED = 0
NEAR = 0.5  # correlation with nearness from which on a scheme is said to know of it
WAYS = {
    "added": "added to the tokens, once",
    "turned": "turns queries and keys, in every layer",
    "biased": "added to the scores, in every layer",
}
BY_PLACE = {
    "added": ("feature", "position", "what is added"),
    "turned": ("pair of features", "position", "angle, in turns"),
    "biased": ("head", "key minus query", "added to the score"),
}
NOTES = {
    "sinusoidal": "waves, fixed",
    "learnable": "free numbers, untrained",
    "linear": "one direction, untrained",
    "rotary": "angles, fixed",
    "alibi": "distance times a slope, fixed",
    "relative_bias": "a number per distance, untrained",
}


@dataclass(frozen=True)
class PositionMap:
    """One scheme.

    Attributes:
        name: As in `archaeology.attention.position_scheme`.
        way: "added", "turned" or "biased".
        by_place: What every feature gets at every position; angles in turns, or the bias of every head by distance.
        match: Of two positions: dot product of what they get over its mean with itself; a bias is itself.
        on_grid: Match of cell `CELL` of a grid with every cell.
        nearness: Correlation between match and nearness over pairs of different positions.
    """

    name: str
    way: str
    by_place: Float[np.ndarray, "feature place"]
    match: Float[np.ndarray, "query key"]
    on_grid: Float[np.ndarray, "row column"]
    nearness: float


@dataclass(frozen=True)
class PositionMaps:
    """All schemes, for as many positions."""

    maps: list[PositionMap]
    num_places: int
    grid: tuple[int, int]


def compute(source: WorldSource) -> PositionMaps:
    """Every scheme as it is before any training; nothing of the source is needed."""
    names = sorted(set(SCHEMES) - {"none"}, key=list(NOTES).index)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        return PositionMaps([_map_of(name) for name in names], PLACES, GRID)


def _map_of(name: str) -> PositionMap:
    line = LayerShape(NUM_HEADS, HEAD_DIM, PLACES)
    grid = LayerShape(NUM_HEADS, HEAD_DIM, GRID[0] * GRID[1], GRID)
    what, match = _given(name, line), _match(_given(name, line), PLACES)
    way, by_place = _by_feature(what)
    on_grid = _match(_given(name, grid), GRID[0] * GRID[1])[CELL[0] * GRID[1] + CELL[1]].reshape(GRID)
    return PositionMap(name, way, by_place, match, on_grid, nearness(match))


def _given(name: str, shape: LayerShape) -> Tensor | Rotation | Bias:
    """What is added to the tokens, or what acts in a layer."""
    torch.manual_seed(SEED)
    scheme = position_scheme(name, shape)
    inside = scheme.inside()
    return scheme.added.features()[0].double() if inside is None else inside


def _by_feature(what: Tensor | Rotation | Bias) -> tuple[str, Float[np.ndarray, "feature place"]]:
    if isinstance(what, Tensor):
        return "added", what.T.numpy()
    places = torch.arange(PLACES)
    if isinstance(what, Rotation):
        turns = phases(places, HEAD_DIM // 2, 10_000.0, torch.float64) / (2 * torch.pi)
        return "turned", (turns % 1).T.numpy()
    return "biased", _bias(what, torch.tensor([PLACES // 2]), places)[:, 0]


def _bias(what: Bias, query: Tensor, key: Tensor) -> Float[np.ndarray, "head query key"]:
    head = torch.arange(NUM_HEADS)[:, None, None]
    return what.scores(torch.tensor(0), head, query[:, None], key).double().numpy()


def _match(what: Tensor | Rotation | Bias, num_places: int) -> Float[np.ndarray, "query key"]:
    """How well every place matches every other."""
    places = torch.arange(num_places)
    if isinstance(what, Bias):
        return _bias(what, places, places)[0]
    if isinstance(what, Rotation):
        what = what.rotate(torch.ones(1, 1, num_places, HEAD_DIM, dtype=torch.float64), places)[0, 0]
    product = what @ what.T
    return (product / product.diagonal().mean()).numpy()


def nearness(match: Float[np.ndarray, "query key"]) -> float:
    """Correlation of the match of different positions with how near they are."""
    place = np.arange(len(match))
    distance = np.abs(place[:, None] - place)
    apart = distance > 0
    return float(np.corrcoef(match[apart], -distance[apart])[0, 1])


def headline(data: PositionMaps) -> str:
    """Which schemes know what is near without having learned it."""
    near = [_words(found.name) for found in data.maps if found.nearness >= NEAR]
    others = [_words(found.name) for found in data.maps if found.nearness < NEAR]
    if not near:
        return "No kind of positions makes near places alike before training."
    said = f"Before any training, {joined(near)} positions make near places alike"
    return f"{said}; {joined(others)} ones must learn it." if others else f"{said}."


def _words(name: str) -> str:
    return name.replace("_", " ")


LEFT, WIDE, GAP = 0.8, 1.45, 0.44
ROWS = (
    ("what each position gets", 1.1),
    ("match of two positions", 1.45),
    ("match with the cell\nmarked x, on a grid", 1.45),
)


def draw(data: PositionMaps) -> "Figure":
    """A column for each scheme; above what a place gets, below which places match."""
    width = LEFT + len(data.maps) * (WIDE + GAP)
    said = headline(data)
    top = headline_height(width, said) + 0.25
    height = top + 0.55 + sum(tall + 0.95 for _, tall in ROWS)
    with themed("world_positions"):
        figure = new_figure(width, height)
        write_headline(figure, said)
        for column, found in enumerate(data.maps):
            left = LEFT + column * (WIDE + GAP)
            write_at(figure, left, top, _words(found.name), size=10.0, weight="bold")
            write_at(figure, left, top + 0.2, NOTES[found.name], size=7.0, colour="muted")
            below = top + 0.5
            for row, (_, tall) in enumerate(ROWS):
                axes = place(figure, left, below, WIDE, tall)
                bar = place(figure, left, below + tall + 0.42, WIDE, 0.07)
                (_by_place, _pairs, _cells)[row](axes, bar, found, data)
                below += tall + 0.95
        below = top + 0.5
        for words, tall in ROWS:
            words_at = (0.2 / width, 1 - (below + tall / 2) / height)
            figure.text(
                *words_at, words, rotation="vertical", ha="center", va="center", multialignment="center"
            )
            below += tall + 0.95
    return figure


def _by_place(axes: "Axes", bar: "Axes", found: PositionMap, data: PositionMaps) -> None:
    rows, across, unit = BY_PLACE[found.way]
    last = data.num_places - 0.5
    ends = (
        (-0.5, last) if found.way != "biased" else (-data.num_places // 2 - 0.5, data.num_places // 2 - 0.5)
    )
    extent = (*ends, len(found.by_place) + 0.5, 0.5)
    colours, low, high = _scale(found, found.by_place)
    axes.imshow(
        found.by_place, cmap=colours, vmin=low, vmax=high, aspect="auto", extent=extent, interpolation="none"
    )
    _name(axes, across, rows)
    _bar(bar, colours, low, high, unit)


def _pairs(axes: "Axes", bar: "Axes", found: PositionMap, data: PositionMaps) -> None:
    colours, low, high = _scale(found, found.match)
    axes.imshow(found.match, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="none")
    _name(axes, "position (key)", "position (query)")
    _bar(bar, colours, low, high, "bias of head 1" if found.way == "biased" else "match")


def _cells(axes: "Axes", bar: "Axes", found: PositionMap, data: PositionMaps) -> None:
    colours, low, high = _scale(found, found.on_grid)
    axes.imshow(found.on_grid, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="none")
    row, column = CELL
    axes.plot([column], [row], "x", color=COLOURS["ink"], markersize=5)
    _name(axes, "column", "row")
    _bar(bar, colours, low, high, "bias of head 1" if found.way == "biased" else "match")


def _scale(found: PositionMap, numbers: np.ndarray) -> tuple[str, float, float]:
    """Colour map and limits: round for angles and one-sided numbers, even about zero for others."""
    if found.way == "turned" and numbers is found.by_place:
        return "twilight", 0.0, 1.0
    if numbers.max() <= 0:
        return SEQUENTIAL, float(numbers.min()), 0.0
    if numbers.min() >= 0:
        return SEQUENTIAL, 0.0, float(numbers.max())
    limit = float(np.abs(numbers).max())
    return DIVERGING, -limit, limit


def _bar(axes: "Axes", colours: str, low: float, high: float, unit: str) -> None:
    colour_bar(axes, colours, low, high, unit)
    axes.xaxis.set_major_locator(round_ticks(2))
    axes.tick_params(labelsize=6.5)
    axes.xaxis.label.set_fontsize(7.5)


def _name(axes: "Axes", across: str, down: str) -> None:
    axes.xaxis.set_major_locator(round_ticks())
    axes.yaxis.set_major_locator(round_ticks(3))
    bare(axes)
    axes.tick_params(pad=1, labelsize=7)
    axes.set_xlabel(across, labelpad=1, fontsize=7.5)
    axes.set_ylabel(down, labelpad=1, fontsize=7.5)


def table(data: PositionMaps) -> DataTable:
    """How each scheme acts, and how far it makes near places alike."""
    rows = tuple(
        (
            _words(found.name),
            WAYS[found.way],
            f"{fixed(found.by_place.min(), 2)} to {fixed(found.by_place.max(), 2)}",
            fixed(found.nearness, 2),
        )
        for found in data.maps
    )
    return DataTable(("Positions", "How", "Numbers", "Correlation of match with nearness"), rows)


world_positions = world_figures.register("world_positions")(
    Drawing(
        name="world_positions",
        title="How can attention know where a token lies?",
        explanation="Attention sees a set of tokens; each column is one way to tell it their order, as it is before "
        "training.",
        definition=f"{PLACES} positions with {NUM_HEADS * HEAD_DIM} features in {NUM_HEADS} heads, and a grid of "
        f"{GRID[0]} x {GRID[1]} cells. Match is the dot product of what two positions get, over its mean with "
        "themselves; for rotary positions, of two equal vectors turned by their angles; for biases, what head 1 adds "
        "to the score. Every panel has colours of its own.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
