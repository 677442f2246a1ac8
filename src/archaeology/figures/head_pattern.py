"""Who looks at whom in one head: its mean pattern, queries down, keys across."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from archaeology.figures._theme import COLOURS, SEQUENTIAL, bare, colour_bar, new_figure, place, themed
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import percent
from archaeology.models.reverser import SequenceReverser
from archaeology.recipes.reverse_sequence import held_out
from archaeology.recipes.stream import load_trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE = "reverse_sequence"
SIDE, LEFT, TOP = 2.9, 0.65, 0.62
NUM_SEQUENCES = 1_000


@dataclass(frozen=True)
class HeadPattern:
    """The pattern of one head, averaged over sequences.

    Attributes:
        weight: Share of each query's attention that each key gets, in [0, 1].
        head: Its number, from 0.
        mirrored: Mean share on the anti-diagonal, where a reversed sequence has its tokens.
    """

    weight: Float[np.ndarray, "query key"]
    head: int
    mirrored: float


def compute(source: WorldSource) -> HeadPattern | None:
    """The first head of the first run of `reverse_sequence`; None without one."""
    runs = [run for run in source.runs if run.recipe == RECIPE]
    return mean_pattern(runs[0].folder) if runs else None


def mean_pattern(run: Path, head: int = 0) -> HeadPattern:
    """The mean pattern over held-out sequences of the model that a run of `reverse_sequence` trained.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If it is of another recipe, or has no such head.
    """
    model, _ = load_trained(run)
    if not isinstance(model, SequenceReverser):
        raise ValueError(f"{run} must hold a run of reverse_sequence, but holds a {type(model).__name__}.")
    with torch.inference_mode():
        patterns = model.pattern(held_out(NUM_SEQUENCES)[0]).mean(dim=0).numpy()
    if not 0 <= head < len(patterns):
        raise ValueError(f"head must lie in 0..{len(patterns) - 1}, but got {head}.")
    weight = patterns[head]
    return HeadPattern(weight, head, float(np.fliplr(weight).diagonal().mean()))


def headline(data: HeadPattern) -> str:
    """Where the head looks, in a sentence."""
    share = f"{100 * data.mirrored:.1f} % of its attention"
    return f"Head {data.head} looks at the mirrored token: {share} lies there."


def draw(data: HeadPattern) -> "Figure":
    """The pattern as a square of cells on a scale from 0 to 1."""
    with themed("head-pattern"):
        figure = new_figure(LEFT + SIDE + 0.35, TOP + SIDE + 1.05)
        cells = place(figure, LEFT, TOP, SIDE, SIDE)
        cells.imshow(data.weight, cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="none")
        queries, keys = data.weight.shape
        cells.set_xticks(range(keys), [str(number + 1) for number in range(keys)])
        cells.set_yticks(range(queries), [str(number + 1) for number in range(queries)])
        cells.set_xlabel("token that is looked at (key)", labelpad=2)
        cells.set_ylabel("token that looks (query)", labelpad=3)
        bare(cells)
        first, _, second = headline(data).partition(": ")
        figure.text(0.04, 0.965, f"{first}:", color=COLOURS["ink"], fontsize=9.5, weight="bold", va="top")
        figure.text(0.04, 0.915, second, color=COLOURS["ink"], fontsize=9.5, weight="bold", va="top")
        bar = place(figure, LEFT, TOP + SIDE + 0.55, SIDE, 0.1)
        colour_bar(bar, SEQUENTIAL, 0.0, 1.0, "share of the query's attention")
    return figure


def table(data: HeadPattern) -> DataTable:
    """For every query, the key that it looks at most."""
    rows = tuple(
        (f"Token {query + 1}", str(int(row.argmax()) + 1), percent(float(row.max())))
        for query, row in enumerate(data.weight)
    )
    return DataTable(("Query", "Looks most at", "Share"), rows)


head_pattern = world_figures.register("head_pattern")(
    Drawing(
        name="head_pattern",
        title="How does attention say a sequence backwards?",
        explanation="Each token of the answer looks at the token that mirrors it: that is all there is to it.",
        definition="Mean pattern of one head over 1,000 held-out sequences; a row sums to one, chance is one over the "
        "number of tokens.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
