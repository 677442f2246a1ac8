"""How much change breaks a model: accuracy against the size of the change, under each attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._robustness import (
    Attacked,
    Ends,
    Subject,
    attack_text,
    ends_of,
    part_of,
    size_text,
    stacked,
    subjects_of,
)
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_line,
    key_height,
    line_axes,
    note_height,
    panel_places,
    panels_height,
    percent_axis,
    write_key,
    write_note,
)
from archaeology.figures._theme import new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed
from archaeology.robustness.sureness import FEWEST, sure_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = "A verified upper bound: another attack may find more."
LEAST_APART = 0.11  # of the axis' length: ticks that are closer are left out


@dataclass(frozen=True)
class CurveLine:
    """One model under one attack.

    Attributes:
        subject: The model.
        accuracy: In percent at each size, with Wilson's interval.
        area: Mean accuracy from no change to the largest, in percent.
        median: Size that breaks half of all images; NaN where fewer were broken.
    """

    subject: Subject
    accuracy: Float[np.ndarray, "end size"]
    area: Ends
    median: Ends


@dataclass(frozen=True)
class CurvePanel:
    """All models under one attack.

    Attributes:
        attack: In words, with its norm.
        norm: "linf" or "l2".
        sizes: In units of images in [0, 1], from 0 on.
        lines: One for each model.
        first: Number of the line with the largest area.
        lead: For each other line the area of `first` less its own, in points; unknown where it was not compared.
        n: Images.
    """

    attack: str
    norm: str
    sizes: Float[np.ndarray, " size"]
    lines: tuple[CurveLine, ...]
    first: int
    lead: tuple[Ends, ...]
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether the first line surely lies above all others."""
        return len(self.lines) > 1 and all(sure_side(one.low, one.high, self.n) > 0 for one in self.lead)


@dataclass(frozen=True)
class RobustnessCurvePanels:
    """A panel for each attack."""

    panels: tuple[CurvePanel, ...]


def compute(source: Attacked) -> RobustnessCurvePanels | None:
    """Curves of the document; None where there are none."""
    found = part_of(source, "curves")
    if not found:
        return None
    names = [curve["specimen"] for one in found for curve in one["curves"]]
    subjects = subjects_of(source.robustness or {}, names)
    return RobustnessCurvePanels(tuple(_panel(one, subjects) for one in found if one["curves"]))


def _panel(found: Mapping[str, Any], subjects: Mapping[str, Subject]) -> CurvePanel:
    curves: Sequence[Mapping[str, Any]] = found["curves"]
    lines = tuple(
        CurveLine(
            subjects[curve["specimen"]],
            100 * stacked([ends_of(row, "accuracy") for row in curve["table"]]),
            ends_of(curve, "area").in_percent,
            ends_of(curve, "median"),
        )
        for curve in curves
    )
    first = int(np.argmax([line.area.value for line in lines]))
    return CurvePanel(
        attack=attack_text(found["attack"], found["norm"]),
        norm=str(found["norm"]),
        sizes=np.array(curves[0]["epsilons"], dtype=float),
        lines=lines,
        first=first,
        lead=tuple(
            _lead(found["areas"], lines[first].subject.name, line.subject.name)
            for at, line in enumerate(lines)
            if at != first
        ),
        n=int(curves[0]["n"]),
    )


def _lead(areas: Sequence[Mapping[str, Any]], first: str, other: str) -> Ends:
    for row in areas:
        if {row["specimen"], row["other"]} == {first, other}:
            return ends_of(row, "difference").turned(1 if row["specimen"] == first else -1).in_percent
    return Ends(np.nan, np.nan, np.nan)


def headline(data: RobustnessCurvePanels) -> str:
    """Who withstands the first attack longest, if that is sure, and in how many attacks that is so."""
    panel = data.panels[0]
    first, upto = panel.lines[panel.first], size_text(float(panel.sizes[-1]), panel.norm)
    images = plural(panel.n, "image")
    area = f"{fixed(first.area.value, 1)} % (95 % interval {first.area.range(1)}, {images})"
    if len(panel.lines) == 1:
        return (
            f"Under {panel.attack}, {first.subject.title} is right on at most {area} on average over changes up to "
            f"{upto}."
        )
    others = [line for at, line in enumerate(panel.lines) if at != panel.first]
    nearest = int(np.argmin([one.value if one.is_known else -np.inf for one in panel.lead]))
    lead, next_one = panel.lead[nearest], others[nearest].subject.title
    if not panel.is_clear:
        gap = (
            f"{fixed(lead.value, 1)} points, 95 % interval {lead.range(1)}"
            if lead.is_known
            else "not compared"
        )
        return (
            f"No model surely withstands {panel.attack} longest: {first.subject.title} leads {next_one} in mean "
            f"accuracy over changes up to {upto}, but {_doubt(panel, lead)} ({gap}, {images})."
        )
    return (
        f"{first.subject.title} withstands {panel.attack} longest: over changes up to {upto} it is right on at most "
        f"{area} on average, {fixed(lead.value, 1)} points ({lead.range(1)}) above {next_one}.{_elsewhere(data)}"
    )


def _doubt(panel: CurvePanel, lead: Ends) -> str:
    """Why a lead is not sure."""
    if panel.n < FEWEST:
        return f"fewer than {FEWEST} images show nothing for sure"
    if lead.is_known and lead.high <= lead.low:
        return "the interval has no width"
    return "the interval includes zero"


def _elsewhere(data: RobustnessCurvePanels) -> str:
    if len(data.panels) == 1:
        return ""
    winner = data.panels[0].lines[data.panels[0].first].subject.name
    same = sum(panel.is_clear and panel.lines[panel.first].subject.name == winner for panel in data.panels)
    return f" It is surely first under {same} of {plural(len(data.panels), 'attack')}."


def draw(data: RobustnessCurvePanels) -> "Figure":
    """A panel for each attack; sizes along a square-root axis, since most is lost to small ones."""
    subjects = list(
        {line.subject.name: line.subject for panel in data.panels for line in panel.lines}.values()
    )
    count, across = len(data.panels), 2
    tall, above, below = (2.0 if count == 1 else 1.6), 0.28, 0.5
    top = key_height(subjects)
    with themed("robustness_curve"):
        deep = top + panels_height(count, across, tall, above, below)
        figure = new_figure(WIDTH, deep + note_height(NOTE))
        write_key(figure, subjects)
        write_note(figure, deep, NOTE)
        boxes = panel_places(count, across, top, tall, above, below)
        for at, (panel, box) in enumerate(zip(data.panels, boxes, strict=True)):
            axes = line_axes(figure, box, panel.attack)
            _draw_panel(axes, panel)
            if at % across == 0:
                axes.set_ylabel("images still right (%)", labelpad=3)
    return figure


def _draw_panel(axes: "Axes", panel: CurvePanel) -> None:
    along = np.sqrt(panel.sizes / panel.sizes[-1])
    axes.set_xlim(0, 1)
    percent_axis(axes)
    for line in panel.lines:
        draw_line(axes, along, line.accuracy, line.subject.colour)
    kept = _ticks(along)
    unit = 255 if panel.norm == "linf" else 1
    axes.set_xticks(along[kept], [f"{unit * float(panel.sizes[at]):.3g}" for at in kept])
    axes.set_xlabel(
        "largest change of a pixel (1/255)" if unit == 255 else "length of the change", labelpad=2
    )


def _ticks(along: Float[np.ndarray, " size"]) -> list[int]:
    """Sizes whose ticks do not crowd, from the largest down."""
    kept: list[int] = []
    for at in reversed(range(len(along))):
        if not kept or along[kept[-1]] - along[at] >= LEAST_APART:
            kept.append(at)
    return kept[::-1]


def table(data: RobustnessCurvePanels) -> DataTable:
    """One row for each attack and size, then the mean and the median size; one column for each model."""
    subjects = list(
        {line.subject.name: line.subject for panel in data.panels for line in panel.lines}.values()
    )
    rows: list[tuple[str, ...]] = []
    for panel in data.panels:
        by_name = {line.subject.name: line for line in panel.lines}
        lines = [by_name.get(one.name) for one in subjects]
        for at, size in enumerate(panel.sizes.tolist()):
            cells = [_at(line, at) for line in lines]
            rows.append((f"{panel.attack}: {size_text(size, panel.norm)}", *cells))
        cells = ["" if line is None else line.area.text(1) for line in lines]
        rows.append((f"{panel.attack}: mean up to {size_text(float(panel.sizes[-1]), panel.norm)}", *cells))
        cells = ["" if line is None else _median(line.median, panel.norm) for line in lines]
        rows.append((f"{panel.attack}: size that breaks half", *cells))
    return DataTable(("Attack and size", *(f"{one.title} (%)" for one in subjects)), tuple(rows))


def _at(line: CurveLine | None, at: int) -> str:
    return "" if line is None else Ends(*(float(end) for end in line.accuracy[:, at])).text(1)


def _median(median: Ends, norm: str) -> str:
    """The size, with its interval where both ends are known."""
    if not np.isfinite(median.value):
        return "fewer than half broken"
    value, *ends = (
        size_text(end, norm) if np.isfinite(end) else "open"
        for end in (median.value, median.low, median.high)
    )
    return f"{value} ({' to '.join(ends)})"


robustness_curve = figures.register("robustness_curve")(
    Drawing(
        name="robustness_curve",
        title="How much change breaks them?",
        explanation="Somebody who knows the model changes each image as far as the axis says, so that the model errs. "
        "A line that stays high is a model that is hard to fool; 8/255 is hardly visible.",
        definition="Share of images on which the model is right whatever the attack tried within each size; each size "
        "found by bisection over the grid, every success checked by the model itself. A verified upper bound: another "
        "attack may find more. Bands: Wilson's 95 % intervals. Mean accuracy: area under the curve (trapezoids) over "
        "the largest size. Its interval reaches from the sizes last withstood to those that broke an image, and leaves "
        "room for an image nobody saw (Gaffke); differences are paired over the same images, all pairs together at 95 "
        f"%. Nothing is called sure below {FEWEST} images. The axis is drawn by square roots, the mean is not.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
