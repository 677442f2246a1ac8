"""What does each head do? Its label, layer by head, and how sure that is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import LEFT, MATRIX_WIDTH, TOP, cells_height, label_axes
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, percent
from archaeology.stats.labels import LABELS, MIXED, RULES, Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pale enough for dark letters on a light page and on a dark one, and told apart by colour-blind readers.
LABEL_COLOURS = dict(
    zip(
        LABELS,
        ("#ffaabb", "#ee8866", "#77aadd", "#99ddff", "#eedd88", "#bbcc33", "#44bb99", "#c5a3dd", "#dddddd"),
        strict=True,
    )
)
LETTERS = dict(zip(LABELS, "RSLBPCEOm", strict=True))
LETTER_COLOUR, PALE = "#15181b", "#f4f4f0"
SURE, LEAST = 0.75, 0.45  # a label begins at this belief; the palest it is drawn
MOST_LETTERS, LETTER_SIZE = 400, 8
WIDE, KEY_ROW = MATRIX_WIDTH + 1.1, 0.2


@dataclass(frozen=True)
class Specialization:
    """The label of every head.

    Attributes:
        label: Place in `LABELS`; -1 where a layer has fewer heads.
        confidence: Belief in the label, in [0, 1]; NaN where there is no head.
        nearest: For mixed heads the rule nearest to holding, else the label.
        num_of: Heads of each label, in the order of `LABELS`.
        n: Images behind each label.
    """

    label: Int[np.ndarray, "layer head"]
    confidence: Float[np.ndarray, "layer head"]
    nearest: tuple[tuple[str, ...], ...]
    num_of: tuple[int, ...]
    n: int

    @property
    def num_heads(self) -> int:
        """All heads that have a label."""
        return sum(self.num_of)


def compute(run: RunDirectory) -> Specialization | None:
    """Labels of heads.parquet; None where heads have none."""
    rows = [row for row in run.heads.to_pylist() if row.get("label") in LABELS]
    if not rows:
        return None
    shape = tuple(1 + max(int(row[name]) for row in rows) for name in ("layer", "head"))
    label, confidence = np.full(shape, -1), np.full(shape, np.nan)
    nearest = [["" for _ in range(shape[1])] for _ in range(shape[0])]
    for row in rows:
        layer, head = int(row["layer"]), int(row["head"])
        label[layer, head] = LABELS.index(row["label"])
        confidence[layer, head] = row["confidence"]
        nearest[layer][head] = str(row.get("nearest") or "")
    return Specialization(
        label=label,
        confidence=confidence,
        nearest=tuple(tuple(names) for names in nearest),
        num_of=tuple(int((label == place).sum()) for place in range(len(LABELS))),
        n=max(int(row["n"]) for row in rows),
    )


def headline(data: Specialization) -> str:
    """How many heads have which label, the most frequent first."""
    counted = sorted(zip(data.num_of, LABELS, strict=True), key=lambda pair: -pair[0])
    named = [f"{count(number)} {label}" for number, label in counted if number and label != MIXED]
    mixed = data.num_of[LABELS.index(MIXED)]
    heads, of = plural(data.num_heads, "head"), plural(data.n, "image")
    if not named:
        return f"Of {heads}, none surely follows one of the rules on {of}."
    rest = f"for {'the other ' if mixed > 1 else ''}{count(mixed)} no rule surely holds (mixed)"
    return f"Of {heads}: {', '.join(named)}; {rest if mixed else 'no head is mixed'} ({of})."


def rule_words(rule: Rule) -> str:
    """A rule as one reads it: "sink mass above 0.3"."""
    return f"{rule.figure.replace('_', ' ')} {rule.side} {rule.threshold:g}"


def draw(data: Specialization) -> "Figure":
    """A coloured, lettered cell for each head; below, what letters mean, by which rule."""
    tall = cells_height(data.label)
    labels = [place for place in range(len(LABELS)) if data.num_of[place]]
    with themed("specialization"):
        figure = new_figure(LEFT + WIDE + 0.12, TOP + tall + 0.55 + KEY_ROW * (len(labels) + 1))
        axes = place(figure, LEFT, TOP, WIDE, tall)
        axes.imshow(_colours(data), aspect="auto", interpolation="none", clip_on=False)
        label_axes(axes, data.label.shape)
        if data.num_heads <= MOST_LETTERS:
            _write_letters(figure, data, tall)
        _write_key(figure, data, labels, TOP + tall + 0.6)
    return figure


def _colours(data: Specialization) -> Float[np.ndarray, "layer head 4"]:
    """Each head in the colour of its label, the paler the less sure; a head that is not there is transparent."""
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(LABEL_COLOURS[label]) for label in LABELS])
    sure = LEAST + (1 - LEAST) * np.clip((np.nan_to_num(data.confidence) - SURE) / (1 - SURE), 0, 1)
    sure = np.where(data.label == LABELS.index(MIXED), 1.0, sure)[..., None]
    mixed = sure * palette[data.label] + (1 - sure) * np.array(to_rgb(PALE))
    return np.concatenate([mixed, (data.label >= 0)[..., None]], axis=2)


def _write_letters(figure: "Figure", data: Specialization, tall: float) -> None:
    """All letters as one shape, drawn in inches from the lower left corner of the figure."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    layers, heads = data.label.shape
    above = float(figure.get_size_inches()[1]) - TOP
    drawn = []
    for layer, head in zip(*np.nonzero(data.label >= 0), strict=True):
        label = LABELS[data.label[layer, head]]
        if label != MIXED:
            letter = TextPath((0, 0), LETTERS[label], size=LETTER_SIZE)
            box = letter.get_extents()
            middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
            place_of = np.array([LEFT + (head + 0.5) / heads * WIDE, above - (layer + 0.5) / layers * tall])
            drawn.append(Path((letter.vertices - middle) / 72 + place_of, letter.codes))
    if drawn:
        path = Path.make_compound_path(*drawn)
        figure.add_artist(
            PathPatch(path, facecolor=LETTER_COLOUR, linewidth=0, transform=figure.dpi_scale_trans)
        )


def _write_key(figure: "Figure", data: Specialization, labels: list[int], top: float) -> None:
    """One line for each label that occurs: its letter on its colour, its name, its rule, how many heads."""
    rules = {rule.label: rule_words(rule) for rule in RULES}
    width, height = figure.get_size_inches()
    for row, at in enumerate(labels):
        label, below = LABELS[at], 1 - (top + row * KEY_ROW) / height
        box = {"facecolor": LABEL_COLOURS[label], "edgecolor": "none", "pad": 2.2}
        letter = LETTERS[label] if label != MIXED else " "
        figure.text((LEFT + 0.08) / width, below, letter, fontsize=7.5, family="monospace", bbox=box,
                    color=LETTER_COLOUR, ha="center", va="center")  # fmt: skip
        for left, words, colour in (
            (LEFT + 0.28, label, "ink"),
            (LEFT + 1.3, rules.get(label, "no rule surely holds"), "muted"),
            (LEFT + 3.45, plural(data.num_of[at], "head"), "muted"),
        ):
            figure.text(left / width, below, words, fontsize=8, color=COLOURS[colour], va="center")
    below = 1 - (top + len(labels) * KEY_ROW) / height
    figure.text(LEFT / width, below, "the paler a cell, the less sure its label", fontsize=7.5,
                color=COLOURS["muted"], va="center")  # fmt: skip


def table(data: Specialization) -> DataTable:
    """One row per layer, one column per head: the label and how sure it is."""
    layers, heads = data.label.shape
    cells = [[_cell(data, layer, head) for head in range(heads)] for layer in range(layers)]
    return DataTable(
        columns=("Layer", *(f"Head {head + 1}" for head in range(heads))),
        rows=tuple((str(layer + 1), *row) for layer, row in enumerate(cells)),
    )


def _cell(data: Specialization, layer: int, head: int) -> str:
    if data.label[layer, head] < 0:
        return NOT_KNOWN
    label, nearest = LABELS[data.label[layer, head]], data.nearest[layer][head]
    if label == MIXED:
        return f"mixed, nearest to {nearest}" if nearest else "mixed"
    return f"{label}, {percent(float(data.confidence[layer, head]), 0)} sure"


specialization = figures.register("specialization")(
    Drawing(
        name="specialization",
        title="What does each head do?",
        explanation="Every head is measured on the same images and named by the first rule that surely holds; a head "
        "that fits no rule is called mixed, not forced into a box.",
        definition="The rules, in the order in which they are tried: "
        + "; ".join(f"{rule.label}: {rule_words(rule)}" for rule in RULES)
        + ". A rule surely holds where the figure's interval, widened so that at 95 % not one of all heads and rules "
        "is wrong, lies beyond the threshold. Sureness is 50 % on the threshold, 75 % where the interval just reaches "
        "it, near 100 % far beyond.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
