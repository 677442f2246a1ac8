"""Full against causal attention on one row of shapes: scores, mask, pattern, and the answer that comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float

from archaeology.attention import mechanisms
from archaeology.attention.masks import causal
from archaeology.figures._theme import COLOURS, SEQUENTIAL, bare, colour_bar, new_figure, place, themed
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
from archaeology.figures.words import fixed, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("triangle", "rectangle", "semicircle")
ROW_OF_SHAPES = (0, 1, 0, 2, 1, 0, 2)  # one token each
HEIGHTS = (0.3, 0.8, 0.9, 0.4, 0.2, 0.6, 1.0)
SHARPNESS = 5.0  # score of two shapes of a kind; of different kinds it is 0


@dataclass(frozen=True)
class Masked:
    """One way to attend.

    Attributes:
        name: "full" or "causal".
        allowed: Whether a query may look at a key.
        pattern: Share of the query's attention; rows sum to one.
        answer: Mean height, weighted by the pattern.
    """

    name: str
    allowed: Bool[np.ndarray, "query key"]
    pattern: Float[np.ndarray, "query key"]
    answer: Float[np.ndarray, " query"]


@dataclass(frozen=True)
class Masks:
    """The same scores under two masks.

    Attributes:
        kinds: Of every token, as words.
        heights: What tokens carry: their values.
        scores: Products of queries and keys, scaled.
        ways: Full first.
        num_forbidden: Pairs that the causal mask takes away.
    """

    kinds: tuple[str, ...]
    heights: Float[np.ndarray, " token"]
    scores: Float[np.ndarray, "query key"]
    ways: list[Masked]
    num_forbidden: int


def compute(source: WorldSource) -> Masks:
    """Seven shapes in a row, whose queries and keys say which kind they are; nothing of the source is needed."""
    kind = torch.tensor(ROW_OF_SHAPES)
    features = torch.nn.functional.one_hot(kind, len(KINDS)).double()
    key = features[None, None] * (SHARPNESS * len(KINDS) ** 0.5) ** 0.5
    softmax, heights = mechanisms.get("softmax")(), torch.tensor(HEIGHTS, dtype=torch.float64)
    ways = []
    for name, mask in (("full", None), ("causal", causal())):
        pattern = softmax.pattern(key, key, mask=mask)[0, 0].detach()
        allowed = (causal().dense(len(kind), len(kind)) if mask else torch.ones(1, 1, len(kind), len(kind)))[
            0, 0
        ]
        ways.append(Masked(name, allowed.bool().numpy(), pattern.numpy(), (pattern @ heights).numpy()))
    scores = (key @ key.mT)[0, 0].numpy() / len(KINDS) ** 0.5
    return Masks(
        tuple(KINDS[number] for number in ROW_OF_SHAPES),
        heights.numpy(),
        scores,
        ways,
        int((~ways[1].allowed).sum()),
    )


def headline(data: Masks) -> str:
    """What the causal mask takes away."""
    first = data.ways[1].pattern[0, 0]
    return (
        "Full attention averages over all shapes of a kind, causal attention only over those so far; the mask takes "
        f"{data.num_forbidden} of {data.scores.size} pairs away, and the first token is left with itself "
        f"({percent(first, 0)})."
    )


SIDE, LEFT, GAP, TALL = 2.0, 0.55, 0.62, 3.0
WORDS = {"full": "full: every token sees every token", "causal": "causal: no token sees what comes later"}


def draw(data: Masks) -> "Figure":
    """A row for each mask, from scores to answers."""
    width = LEFT + 4 * SIDE + 3 * GAP + 0.2
    said = headline(data)
    top = headline_height(width, said) + 0.2
    with themed("world_masks"):
        figure = new_figure(width, top + len(data.ways) * TALL + 0.65)
        write_headline(figure, said)
        for row, way in enumerate(data.ways):
            above = top + row * TALL
            write_at(figure, 0.15, above, WORDS[way.name], size=10.0, weight="bold")
            places = [
                place(figure, LEFT + column * (SIDE + GAP), above + 0.52, SIDE, SIDE) for column in range(4)
            ]
            _scores(places[0], data)
            _mask(places[1], data, way)
            _pattern(places[2], data, way)
            _answers(places[3], data, way)
            for column in range(3):
                after = LEFT + SIDE + GAP / 2 + column * (SIDE + GAP) - 0.1
                write_at(figure, after, above + 0.5 + SIDE / 2, "\N{RIGHTWARDS ARROW}", size=15.0)
            places[0].set_ylabel("looks (query)", labelpad=1, fontsize=7.5)
        below = top + len(data.ways) * TALL + 0.1
        colour_bar(
            place(figure, LEFT, below, SIDE, 0.09),
            SEQUENTIAL,
            0.0,
            SHARPNESS,
            "score (how well key suits query)",
        )
        bar = place(figure, LEFT + 2 * (SIDE + GAP), below, SIDE, 0.09)
        colour_bar(bar, SEQUENTIAL, 0.0, 1.0, "share of the query's attention")
    return figure


def _scores(axes: "Axes", data: Masks) -> None:
    axes.imshow(data.scores, cmap=SEQUENTIAL, vmin=0, vmax=SHARPNESS, interpolation="none")
    title(axes, "1  scores: same kind?")
    _name(axes, data.kinds)


def _mask(axes: "Axes", data: Masks, way: Masked) -> None:
    from matplotlib.colors import ListedColormap

    colours = ListedColormap([COLOURS["cnn-soft"], COLOURS["faint"]])
    axes.imshow(way.allowed, cmap=colours, vmin=0, vmax=1, interpolation="none")
    for query, key in np.argwhere(~way.allowed):
        axes.text(
            key, query, "\N{MULTIPLICATION SIGN}", ha="center", va="center", color=COLOURS["cnn"], fontsize=9
        )
    title(
        axes,
        "2  mask: \N{MULTIPLICATION SIGN} must not look"
        if not way.allowed.all()
        else "2  mask: all may look",
    )
    _name(axes, data.kinds)


def _pattern(axes: "Axes", data: Masks, way: Masked) -> None:
    axes.imshow(way.pattern, cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="none")
    for (query, key), weight in np.ndenumerate(way.pattern):
        if weight >= 0.005:
            colour = COLOURS["ink"] if weight > 0.6 else COLOURS["paper"]
            axes.text(key, query, fixed(weight, 2), ha="center", va="center", fontsize=6, color=colour)
    title(axes, "3  pattern: softmax, rows sum to 1")
    _name(axes, data.kinds)


def _answers(axes: "Axes", data: Masks, way: Masked) -> None:
    """Heights as bars and the answers as dots, one under the other as the rows of the matrices are."""
    places = np.arange(len(data.heights))
    colours = [KIND_COLOURS[KINDS.index(kind)] for kind in data.kinds]
    axes.barh(places, data.heights, height=0.62, color=colours, alpha=0.3)
    axes.hlines(
        places, np.minimum(data.heights, way.answer), np.maximum(data.heights, way.answer), colors=colours
    )
    axes.scatter(way.answer, places, c=colours, s=26, zorder=3)
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_xlim(0, 1.08)
    axes.set_yticks(places, [SIGNS[kind] for kind in data.kinds])
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set_color(colour)
    axes.tick_params(axis="y", left=False, pad=1)
    axes.set_xlabel("height", labelpad=1)
    title(axes, "4  heights (bars) to answers (dots)")


def _name(axes: "Axes", kinds: Sequence[str]) -> None:
    places, signs = range(len(kinds)), [SIGNS[kind] for kind in kinds]
    axes.set_xticks(places, signs)
    axes.set_yticks(places, signs)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, kind in zip(labels, kinds, strict=True):
            label.set_color(KIND_COLOURS[KINDS.index(kind)])
    bare(axes)
    axes.tick_params(pad=1)
    axes.set_xlabel("looked at (key)", labelpad=1, fontsize=7.5)


def table(data: Masks) -> DataTable:
    """What each token carries and what it gets."""
    columns = ("Token", "Height", *(f"Answer, {way.name}" for way in data.ways))
    rows = tuple(
        (f"{i + 1} {kind}", fixed(data.heights[i], 2), *(fixed(way.answer[i], 2) for way in data.ways))
        for i, kind in enumerate(data.kinds)
    )
    return DataTable(columns, rows)


world_masks = world_figures.register("world_masks")(
    Drawing(
        name="world_masks",
        title="What does a causal mask take away?",
        explanation="Each token is a shape that looks for others of its kind; the mask decides whom it may see, and "
        "the softmax shares its attention out among the rest.",
        definition=f"Seven tokens; queries and keys say the kind, so that the score is {SHARPNESS:g} for shapes of a "
        "kind and 0 for others. Values are heights; an answer is their mean, weighted by the row of the pattern.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
