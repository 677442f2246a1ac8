"""Which layers matter? What replacing a whole attention layer, or an MLP, costs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, Wording, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed, p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PART_WORDS = {"attention": "attention", "mlp": "MLP"}
PART_COLOURS = {"attention": "vit", "mlp": "cnn"}
WIDTH, GAP, LEFT, TOP = 2.0, 0.3, 0.5, 0.36
EXPLANATION = (
    "Here all heads of a layer fall silent at once, so heads that stand in for each other cannot hide; the MLP of a "
    "block is what it computes from what attention gathered."
)
REPLACED = (
    "Output of all heads of one attention layer, or of one MLP, replaced as in head ablation, over the same "
    "images"
)
TESTED = (
    "95 % intervals from a paired bootstrap. A part matters where a sign-flip test of the loss, corrected for the "
    "number of parts (Holm), has p below 0.05; 'not shown to matter' may mean too few images, 'useless within 0.1 "
    "points' is shown."
)


@dataclass(frozen=True)
class PartEffects:
    """What replacing this part of each layer does; positive means the part helps, NaN where a layer lacks it.

    Attributes:
        part: "attention" or "mlp".
        accuracy: Points of accuracy lost, or percent of answers changed where there are no labels: value, low and high
            of its 95 % interval.
        loss: Rise in loss in nats, likewise.
        p_corrected: Of the test that the loss does not change.
        matters: Where that is below the level, 0.05.
        verdict: In words.
    """

    part: str
    accuracy: Float[np.ndarray, "end layer"]
    loss: Float[np.ndarray, "end layer"]
    p_corrected: Float[np.ndarray, " layer"]
    matters: Bool[np.ndarray, " layer"]
    verdict: tuple[str, ...]


@dataclass(frozen=True)
class LayerEffects:
    """Attention and, where they could be told apart, MLPs of all layers; `n` images behind each effect.

    Where there is no truth (`has_truth`), the model's own answers stand in for labels.
    """

    parts: tuple[PartEffects, ...]
    n: int
    has_truth: bool

    @property
    def depth(self) -> int:
        """How many layers there are."""
        return self.parts[0].accuracy.shape[1]


def compute(run: RunDirectory) -> LayerEffects | None:
    """Effects of layers.parquet; None where layers were not ablated."""
    found = run.layers
    if found is None or found.num_rows == 0:
        return None
    rows = found.to_pylist()
    depth = 1 + max(int(row["layer"]) for row in rows)
    parts = [part for part in PART_WORDS if any(row["part"] == part for row in rows)]
    return LayerEffects(
        parts=tuple(_part(part, depth, [row for row in rows if row["part"] == part]) for part in parts),
        n=max(int(row["n"]) for row in rows),
        has_truth=run.has_truth,
    )


def _part(part: str, depth: int, rows: list[dict[str, Any]]) -> PartEffects:
    by_layer = {int(row["layer"]): row for row in rows}

    def column(name: str) -> Float[np.ndarray, " layer"]:
        values = [(by_layer.get(layer) or {}).get(name) for layer in range(depth)]
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    def ends(name: str) -> Float[np.ndarray, "end layer"]:
        return np.stack([column(name + end) for end in ("", "_low", "_high")])

    return PartEffects(
        part=part,
        accuracy=100 * ends("ablation_accuracy"),
        loss=ends("ablation_loss"),
        p_corrected=column("p_corrected"),
        matters=column("matters") == 1,
        verdict=tuple(str((by_layer.get(layer) or {}).get("verdict") or "") for layer in range(depth)),
    )


def headline(data: LayerEffects) -> str:
    """What costs most, and how many parts matter after correction."""
    top = max(data.parts, key=lambda part: np.nanmax(part.loss[0]))
    layer = int(np.nanargmax(top.loss[0]))
    loss = [fixed(float(end), 2) for end in top.loss[:, layer]]
    lost = [fixed(float(end), 1) for end in top.accuracy[:, layer]]
    counts = [
        f"{count(int(part.matters.sum()))} of {plural(int(np.isfinite(part.loss[0]).sum()), _named(part.part))} "
        f"{'matters' if int(part.matters.sum()) == 1 else 'matter'}"
        for part in data.parts
    ]
    return (
        f"Replacing the {PART_WORDS[top.part]} of layer {layer + 1} costs most: the loss rises by {loss[0]} nats "
        f"(95 % interval {loss[1]} to {loss[2]}), {_lost(data, *lost)}. "
        f"After correction for many comparisons {' and '.join(counts)} ({plural(data.n, 'image')})."
    )


def _lost(data: LayerEffects, value: str, low: str, high: str) -> str:
    if data.has_truth:
        return f"accuracy falls by {value} points ({low} to {high})"
    return f"the answer changes on {value} % of the images ({low} to {high})"


def _accuracy_words(data: LayerEffects) -> str:
    return "accuracy lost (points)" if data.has_truth else "answers changed (%)"


def _named(part: str) -> str:
    return "attention layer" if part == "attention" else PART_WORDS[part]


def draw(data: LayerEffects) -> "Figure":
    """Layers down, dots with intervals: rise in loss on the left, accuracy lost or answers changed on the right."""
    tall = max(0.27 * data.depth, 0.6)
    with themed("layer_ablation"):
        figure = new_figure(LEFT + 2 * WIDTH + GAP + 0.22, TOP + tall + 0.5)
        left = place(figure, LEFT, TOP, WIDTH, tall)
        right = place(figure, LEFT + WIDTH + GAP, TOP, WIDTH, tall)
        _column(left, data, [part.loss for part in data.parts], "rise in loss (nats)")
        _column(right, data, [part.accuracy for part in data.parts], _accuracy_words(data))
        step = 1 if data.depth <= 16 else 2
        left.set_yticks(range(0, data.depth, step), [str(layer + 1) for layer in range(0, data.depth, step)])
        left.set_ylabel("layer", labelpad=3)
        _write_key(figure, data)
    return figure


def _column(
    axes: "Axes", data: LayerEffects, effects: list[Float[np.ndarray, "end layer"]], unit: str
) -> None:
    axes.axvline(0, color=COLOURS["muted"], linewidth=1, clip_on=False)
    for place_of, (part, ends) in enumerate(zip(data.parts, effects, strict=True)):
        value, low, high = ends
        rows = np.arange(len(value)) + 0.26 * (place_of - (len(effects) - 1) / 2)
        colour = COLOURS[PART_COLOURS[part.part]]
        axes.plot(
            np.stack([low, high, np.full_like(low, np.nan)], axis=1).ravel(),
            np.repeat(rows, 3),
            color=colour,
            linewidth=1.4,
            clip_on=False,
        )
        known = np.isfinite(value)
        for chosen, fill in ((known & part.matters, colour), (known & ~part.matters, COLOURS["paper"])):
            dots(axes, value[chosen], rows[chosen], size=4.0, fill=fill, edge=colour, edge_width=1.1)
    axes.set_ylim(data.depth - 0.5, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(round_ticks(4))
    axes.grid(axis="x")
    axes.margins(x=0.06)
    bare(axes)
    axes.set_xlabel(unit, labelpad=2)


def _write_key(figure: "Figure", data: LayerEffects) -> None:
    width, height = figure.get_size_inches()
    left = LEFT
    for part in data.parts:
        words = f"\N{BLACK CIRCLE} {PART_WORDS[part.part]}"
        figure.text(left / width, 1 - 0.2 / height, words, color=COLOURS[PART_COLOURS[part.part]])
        left += 0.35 + 0.075 * len(words)
    figure.text((left + 0.1) / width, 1 - 0.2 / height, "hollow: not shown to matter", color=COLOURS["muted"])


def table(data: LayerEffects) -> DataTable:
    """One row per layer and part: both effects, the corrected p-value, the verdict."""
    rows = [_row(part, layer) for layer in range(data.depth) for part in data.parts]
    lost = _accuracy_words(data).capitalize()
    columns = ("Layer", "Rise in loss (nats)", lost, "p, corrected", "Verdict")
    return DataTable(columns, tuple(row for row in rows if row is not None))


def _row(part: PartEffects, layer: int) -> tuple[str, ...] | None:
    if not np.isfinite(part.loss[0, layer]):
        return None
    p = float(part.p_corrected[layer])
    return (
        f"{layer + 1}, {PART_WORDS[part.part]}",
        _span(part.loss[:, layer], 3),
        _span(part.accuracy[:, layer], 1),
        p_value(p).removeprefix("= ") if np.isfinite(p) else NOT_KNOWN,
        part.verdict[layer] or NOT_KNOWN,
    )


def _span(ends: Float[np.ndarray, " end"], decimals: int) -> str:
    value, low, high = (fixed(float(end), decimals) for end in ends)
    return f"{value} ({low} to {high})"


layer_ablation = figures.register("layer_ablation")(
    Drawing(
        name="layer_ablation",
        title="Which layers does the answer need?",
        explanation=EXPLANATION,
        definition=f"{REPLACED}; positive: the part helps. {TESTED}",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
        own_answers=Wording(
            explanation=EXPLANATION,
            definition=f"{REPLACED}; there are no labels, so the loss is that of the answer which the whole model "
            f"gives, and what is counted are answers that change. {TESTED}",
        ),
    )
)
