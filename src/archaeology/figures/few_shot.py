"""How many labels a model's features need: accuracy of a probe that saw one, two, five or ten images of each class."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._representation import Layered, layered_part, readout_text
from archaeology.figures._robustness import Ends, Subject, ends_of, stacked, subjects_of
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_level,
    draw_line,
    key_height,
    line_axes,
    panel_places,
    percent_axis,
    write_key,
)
from archaeology.figures._theme import COLOURS, dots, new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TALL, ABOVE, BELOW = 1.9, 0.24, 0.52


@dataclass(frozen=True)
class FewShotCurve:
    """One model.

    Attributes:
        subject: The model.
        read: Readout and layer, in words.
        accuracy: In percent for each number of labels, with the interval over draws and images.
    """

    subject: Subject
    read: str
    accuracy: Float[np.ndarray, "end shot"]


@dataclass(frozen=True)
class FewShots:
    """All models.

    Attributes:
        shots: Labels of each class.
        curves: One for each model.
        lead: Accuracy of the first model less that of the second for each number of labels, in points; empty for one.
        chance: In percent.
        draws: Of the images that were labelled.
        num_classes: To choose from.
        n: Images asked.
    """

    shots: tuple[int, ...]
    curves: tuple[FewShotCurve, ...]
    lead: tuple[Ends, ...]
    chance: float
    draws: int
    num_classes: int
    n: int


def compute(source: Layered) -> FewShots | None:
    """Curves of the document; None where there are none."""
    found = layered_part(source, "few_shot")
    if not found or not found["curves"]:
        return None
    subjects = subjects_of(source.representation or {}, [one["specimen"] for one in found["curves"]])
    return FewShots(
        shots=tuple(int(row["shots"]) for row in found["curves"][0]["table"]),
        curves=tuple(
            FewShotCurve(
                subjects[one["specimen"]],
                f"{readout_text(one['readout'])} of {one['layer']}",
                100 * stacked([ends_of(row, "accuracy") for row in one["table"]]),
            )
            for one in found["curves"]
        ),
        lead=tuple(ends_of(row, "difference").in_percent for row in found["compared"]),
        chance=100 * float(found["chance"]),
        draws=int(found["draws"]),
        num_classes=int(found["num_classes"]),
        n=int(found["n"]),
    )


def headline(data: FewShots) -> str:
    """What one label gives, and which model needs fewer."""
    labels = "one label" if data.shots[0] == 1 else f"{data.shots[0]} labels"
    said = [
        f"{curve.subject.title} {Ends(*(float(end) for end in curve.accuracy[:, 0])).text(0)} %"
        for curve in data.curves
    ]
    text = (
        f"With {labels} for each of {plural(data.num_classes, 'class', 'classes')} a probe names {', '.join(said)} of "
        f"{plural(data.n, 'image')} right (95 % intervals over {data.draws} draws and over images)"
    )
    if not data.lead:
        return f"{text}."
    sides = {one.side for one in data.lead}
    names = [curve.subject.title for curve in data.curves[:2]]
    if sides == {1} or sides == {-1}:
        first, other = names if 1 in sides else names[::-1]
        return f"{text}; {first} says more than {other} with {_range(data)}."
    return f"{text}; neither says more beyond its interval with every number of labels."


def _range(data: FewShots) -> str:
    return "so few labels" if len(data.shots) == 1 else f"{data.shots[0]} to {data.shots[-1]} labels"


def draw(data: FewShots) -> "Figure":
    """One line for each model; numbers of labels evenly spaced."""
    subjects = [curve.subject for curve in data.curves]
    top = key_height(subjects)
    with themed("few_shot"):
        figure = new_figure(WIDTH, top + ABOVE + TALL + BELOW)
        write_key(figure, subjects)
        box = panel_places(1, 1, top, TALL, ABOVE, BELOW)[0]
        axes = line_axes(figure, box, f"{data.n:,} images asked, chance {fixed(data.chance, 0)} % (dotted)")
        along = np.arange(len(data.shots), dtype=float)
        axes.set_xlim(-0.08, max(len(data.shots) - 0.92, 0.92))
        percent_axis(axes)
        draw_level(axes, data.chance, "muted")
        for curve in data.curves:
            draw_line(axes, along, curve.accuracy, curve.subject.colour)
            dots(axes, along, curve.accuracy[0], size=4.5, fill=COLOURS[curve.subject.colour])
        axes.set_xticks(along, [str(shot) for shot in data.shots])
        axes.set_xlabel("labelled images of each class", labelpad=2)
        axes.set_ylabel("images named right (%)", labelpad=3)
    return figure


def table(data: FewShots) -> DataTable:
    """One row for each number of labels: every model, and the difference of the first two."""
    rows = []
    for at, shot in enumerate(data.shots):
        cells = [Ends(*(float(end) for end in curve.accuracy[:, at])).text(1) for curve in data.curves]
        lead = [data.lead[at].text(1)] if data.lead else []
        rows.append((str(shot), *cells, *lead, str(data.draws), f"{data.n:,}"))
    names = (f"{curve.subject.title}, {curve.read} (%)" for curve in data.curves)
    lead = ("First less second (points)",) if data.lead else ()
    return DataTable(("Labels of each class", *names, *lead, "Draws", "Images asked"), tuple(rows))


few_shot = figures.register("few_shot")(
    Drawing(
        name="few_shot",
        title="How many labels does it take?",
        explanation="Features that already sort the world need few examples: a line that starts high has done the work "
        "before any label came. What it took is a straight line on the last layer, nothing else was trained.",
        definition="A linear probe (logistic regression, C = 1) on the standardised features of the last layer, "
        "trained on so many images of each class drawn from the known half, asked about all of the other half. Mean "
        "over draws; bands are Student's 95 % intervals, for other draws and other images. Both models learn from "
        "the same images in each draw, so differences are paired.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
