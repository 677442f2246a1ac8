"""What each way of learning knows: one panel for each question, a dot with its interval for each model, floors too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archaeology.dig.learning_result import LearningComparison
from archaeology.figures._labels import LEFT
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures._world_ink import SERIES, headline_height, title, write_at, write_headline
from archaeology.figures.drawing import DataTable, Drawing, learning_figures
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS, WIDE, ROW, GAP, LETTER = 5, 1.35, 0.22, 0.22, 0.068  # inches but for the first
ABOVE, BELOW = 0.3, 0.42


@dataclass(frozen=True)
class LearningCell:
    """One answer.

    Attributes:
        value: In percent, or in points.
        low: Lower end of its interval.
        high: Upper end.
        n: Images, or decisions.
        side: Against the reference after Holm: 1 surely more, -1 surely less, 0 neither, or the reference itself.
    """

    value: float
    low: float
    high: float
    n: int
    side: int


@dataclass(frozen=True)
class WaysOfLearning:
    """Everything drawn.

    Attributes:
        subjects: Names, learnt ones first.
        ways: How each learned.
        is_floor: Whether each is a floor.
        measures: Names of the questions.
        units: "%" or "points", of each.
        cells: For each subject and question an answer; None where there is none.
        reference: Whom others are held against.
        sentence: What it shows.
        data: What the images are.
    """

    subjects: tuple[str, ...]
    ways: tuple[str, ...]
    is_floor: tuple[bool, ...]
    measures: tuple[str, ...]
    units: tuple[str, ...]
    cells: tuple[tuple[LearningCell | None, ...], ...]
    reference: str
    sentence: str
    data: str


def compute(source: LearningComparison) -> WaysOfLearning:
    """The table of a comparison, in percent."""
    sides = {
        (each.measure, each.first): each.side for each in source.differences if each.against == "reference"
    }
    cells: list[tuple[LearningCell | None, ...]] = []
    for subject in source.subjects:
        row: list[LearningCell | None] = []
        for measure in source.measures:
            found = source.value(measure.name, subject.name)
            if found is None:
                row.append(None)
                continue
            value, low, high = (
                100 * end for end in (found.interval.value, found.interval.low, found.interval.high)
            )
            row.append(
                LearningCell(value, low, high, found.interval.n, sides.get((measure.name, subject.name), 0))
            )
        cells.append(tuple(row))
    return WaysOfLearning(
        subjects=tuple(subject.name for subject in source.subjects),
        ways=tuple(subject.way for subject in source.subjects),
        is_floor=tuple(subject.role != "learnt" for subject in source.subjects),
        measures=tuple(measure.name for measure in source.measures),
        units=tuple(measure.unit for measure in source.measures),
        cells=tuple(cells),
        reference=source.reference,
        sentence=_sentence(source),
        data=source.data,
    )


def _sentence(source: LearningComparison) -> str:
    """How much of what was asked surely differs from the reference, and what learning without labels buys."""
    bought = [said for said in source.findings if "learning without labels" in said]
    if bought:
        return " ".join(bought)
    against = [each for each in source.differences if each.against == "reference"]
    if not against:
        return f"{source.reference} beside its floors on {source.data}."
    sure = sum(each.side != 0 for each in against)
    return f"Of {count(len(against))} differences from {source.reference}, {count(sure)} are sure."


def headline(data: WaysOfLearning) -> str:
    """What learning without labels buys, where tests find it."""
    return data.sentence


def draw(data: WaysOfLearning) -> "Figure":
    """Panels abreast, one row for each subject in all of them."""
    names = 0.25 + LETTER * max(len(name) for name in data.subjects)
    across = min(ACROSS, len(data.measures))
    width = max(LEFT + names + across * (WIDE + GAP) + 0.1, 6.0)
    top = headline_height(width, data.sentence) + 0.45
    tall = ROW * len(data.subjects)
    lines = -(-len(data.measures) // ACROSS)
    with themed("ways_of_learning"):
        figure = new_figure(width, top + lines * (ABOVE + tall + BELOW))
        write_headline(figure, data.sentence)
        said = f"{data.data}; filled: surely unlike {data.reference} (or it itself), open: not; grey: floors"
        write_at(figure, LEFT, top - 0.35, said, colour="muted", size=8.0)
        for at, measure in enumerate(data.measures):
            left = LEFT + names + (at % ACROSS) * (WIDE + GAP)
            axes = place(figure, left, top + (at // ACROSS) * (ABOVE + tall + BELOW) + ABOVE, WIDE, tall)
            title(axes, f"{measure} ({data.units[at]})", size=8.0)
            _panel(axes, data, at)
            if at % ACROSS:
                axes.set_yticks([])
    return figure


def _panel(axes: "Axes", data: WaysOfLearning, at: int) -> None:
    cells = [row[at] for row in data.cells]
    ends = [end for cell in cells if cell is not None for end in (cell.low, cell.high)]
    room = 0.08 * max(max(ends) - min(ends), 1.0)
    axes.set_xlim(min(ends) - room, max(ends) + room)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        colour = COLOURS["muted"] if data.is_floor[row] else SERIES[row % len(SERIES)]
        axes.plot([cell.low, cell.high], [row, row], color=colour, linewidth=1.4)
        is_sure = cell.side != 0 or data.subjects[row] == data.reference or data.is_floor[row]
        fill = colour if is_sure else COLOURS["paper"]
        dots(
            axes,
            np.array([cell.value]),
            np.array([float(row)]),
            size=4.6,
            fill=fill,
            edge=colour,
            edge_width=1.1,
        )
    axes.set_yticks(range(len(cells)), data.subjects)
    bare(axes)
    axes.tick_params(axis="y", pad=6, labelcolor=COLOURS["ink"])
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(round_ticks(3))


def table(data: WaysOfLearning) -> DataTable:
    """One row for each subject, one column for each question; + and \N{MINUS SIGN} mark what is sure."""
    marks = {1: " +", -1: " \N{MINUS SIGN}", 0: ""}
    rows = []
    for name, way, cells in zip(data.subjects, data.ways, data.cells, strict=True):
        told = [
            NOT_KNOWN
            if cell is None
            else f"{fixed(cell.value, 1)} ({fixed(cell.low, 1)} to {fixed(cell.high, 1)}){marks[cell.side]}"
            for cell in cells
        ]
        rows.append((name, way, *told))
    columns = (f"{name} ({unit})" for name, unit in zip(data.measures, data.units, strict=True))
    return DataTable(("Model", "Learned", *columns), tuple(rows))


ways_of_learning = learning_figures.register("ways_of_learning")(
    Drawing(
        name="ways_of_learning",
        title="What does each way of learning know?",
        explanation="Some models were told what is in every image, others found out by themselves. Asked the same "
        "questions about the same images, they show what the labels were good for.",
        definition="Features before the last linear layer. k-NN: cosine, equal votes. Linear probe: logistic "
        "regression on standardised features; it is also the classifier that is attacked (PGD), corrupted (five "
        "severities) and shown images whose shape and texture disagree. Attention: what the read-out looks at. 95 % "
        "intervals: Wilson, or bootstrap over images. + and \N{MINUS SIGN}: surely more or less than the reference, "
        "paired on the same images, random signs, Holm over all differences.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
