"""What losing patches costs: accuracy as patches go at random, the most telling first, or the least telling first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.explain.method import title_of
from archaeology.figures._robustness import Attacked, Ends, Subject, ends_of, part_of, stacked, subjects_of
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_line,
    key_height,
    line_axes,
    note_height,
    panel_places,
    percent_axis,
    write_key,
    write_note,
)
from archaeology.figures._theme import new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DROPS = {
    "drop_random": "at random",
    "drop_salient": "most telling first",
    "drop_least_salient": "least telling first",
}
ASKED = 0.5  # share of patches that the headline speaks of, or the nearest one measured


@dataclass(frozen=True)
class DropLine:
    """One model: percent right at each share of patches lost, from none on."""

    subject: Subject
    accuracy: Float[np.ndarray, "end share"]


@dataclass(frozen=True)
class DropPanel:
    """One order in which patches go; `shares` are in percent of all patches."""

    kind: str
    shares: Float[np.ndarray, " share"]
    lines: tuple[DropLine, ...]


@dataclass(frozen=True)
class PatchDrop:
    """All orders, and what else was done to the images.

    Attributes:
        panels: One for each order.
        asked: Order and share of patches that the headline speaks of.
        lost: Points each model loses there, in the order of the first panel's lines.
        gaps: For each two of these models what the first loses less what the other loses there, in points.
        rows: For the table: what was done, the model's name, percent right and points lost.
        explanations: By what each model's telling patches were chosen, in words.
        fill: What stands where a patch was.
        grid: Rows and columns of patches.
        n: Images.
    """

    panels: tuple[DropPanel, ...]
    asked: tuple[str, float]
    lost: tuple[Ends, ...]
    gaps: tuple[tuple[int, int, Ends], ...]
    rows: tuple[tuple[str, str, Ends, Ends], ...]
    explanations: tuple[str, ...]
    fill: str
    grid: tuple[int, int]
    n: int


def compute(source: Attacked) -> PatchDrop | None:
    """Accuracies of the document; None where no patches were dropped."""
    found = part_of(source, "patches")
    if not found:
        return None
    table: Sequence[Mapping[str, Any]] = found["table"]
    names = [str(name) for name in found["specimens"]]
    subjects = subjects_of(source.robustness or {}, names)
    kinds = [kind for kind in DROPS if any(row["kind"] == kind for row in table)]
    if not kinds:
        return None
    levels = sorted({float(row["level"]) for row in table if row["kind"] == kinds[0]})
    asked = (kinds[0], min(levels, key=lambda level: abs(level - ASKED)))
    there = {row["specimen"]: row for row in table if (row["kind"], row["level"]) == asked}
    return PatchDrop(
        panels=tuple(_panel(kind, table, [subjects[name] for name in names]) for kind in kinds),
        asked=asked,
        lost=tuple(ends_of(there[name], "lost").in_percent for name in names),
        gaps=tuple(
            (
                names.index(row["specimen"]),
                names.index(row["other"]),
                ends_of(row, "lost_difference").in_percent,
            )
            for row in found["differences"]
            if (row["kind"], row["level"]) == asked
        ),
        rows=tuple(
            (
                _named(row),
                str(row["specimen"]),
                ends_of(row, "accuracy").in_percent,
                ends_of(row, "lost").in_percent,
            )
            for row in table
        ),
        explanations=tuple(
            f"{title_of(str(method).partition(' of ')[0])} for {subjects[name].title}"
            for name, method in zip(names, found["explanations"], strict=True)
        ),
        fill={"mean": "in the image's mean colour"}.get(str(found["fill"]), str(found["fill"])),
        grid=(int(found["grid"][0]), int(found["grid"][1])),
        n=int(found["n"]),
    )


def _panel(kind: str, table: Sequence[Mapping[str, Any]], subjects: Sequence[Subject]) -> DropPanel:
    lines = []
    shares: list[float] = []
    for subject in subjects:
        rows = [row for row in table if row["specimen"] == subject.name and row["kind"] in ("clean", kind)]
        rows.sort(key=lambda row: (row["kind"] != "clean", row["level"]))
        shares = [0.0 if row["kind"] == "clean" else 100 * float(row["level"]) for row in rows]
        lines.append(DropLine(subject, 100 * stacked([ends_of(row, "accuracy") for row in rows])))
    return DropPanel(kind, np.array(shares), tuple(lines))


def _named(row: Mapping[str, Any]) -> str:
    kind, level = str(row["kind"]), float(row["level"])
    if kind in DROPS:
        return f"{percent(level, 0)} of patches, {DROPS[kind]}"
    if kind == "shuffle":
        return f"{level:g} by {level:g} pieces shuffled"
    if kind.startswith("occlude_"):
        where = {"middle": "in the middle", "random": "somewhere"}.get(kind.removeprefix("occlude_"), kind)
        return f"{percent(level, 0)} of the area covered, {where}"
    return "nothing" if kind == "clean" else kind.replace("_", " ")


def headline(data: PatchDrop) -> str:
    """What half of the patches cost each model, and which of two surely loses less."""
    subjects = [line.subject for line in data.panels[0].lines]
    kind, share = data.asked
    first, *rest = (
        f"{subject.title} loses {fixed(lost.value, 1)} points"
        if at == 0
        else f"{subject.title} {fixed(lost.value, 1)}"
        for at, (subject, lost) in enumerate(zip(subjects, data.lost, strict=True))
    )
    ranges = [lost.range(1) for lost in data.lost]
    others = "".join(f", {words} ({span})" for words, span in zip(rest, ranges[1:], strict=True))
    said = (
        f"Without {percent(share, 0)} of patches ({DROPS[kind]}, {plural(data.n, 'image')}) {first} of accuracy (95 % "
        f"interval {ranges[0]}){others}."
    )
    if not data.gaps:
        return said
    one, other, gap = max(data.gaps, key=lambda pair: abs(pair[2].value) if pair[2].side else -1.0)
    if not gap.side:
        return f"{said} Which model loses less cannot be told: all intervals of differences include zero."
    better, worse = (one, other) if gap.side < 0 else (other, one)
    less = gap.turned(-gap.side)
    return (
        f"{said} {subjects[better].title} surely loses less than {subjects[worse].title}, by "
        f"{fixed(abs(gap.value), 1)} points ({less.turned(-1).range(1)})."
    )


def draw(data: PatchDrop) -> "Figure":
    """A panel for each order, a line with its band for each model."""
    subjects = [line.subject for line in data.panels[0].lines]
    tall, above, below = 1.5, 0.28, 0.46
    top = key_height(subjects)
    with themed("patch_drop"):
        deep = top + above + tall + below
        figure = new_figure(WIDTH, deep + note_height(_note(data)))
        write_key(figure, subjects)
        write_note(figure, deep, _note(data))
        boxes = panel_places(len(data.panels), len(data.panels), top, tall, above, below)
        for at, (panel, box) in enumerate(zip(data.panels, boxes, strict=True)):
            axes = line_axes(figure, box, DROPS[panel.kind].capitalize())
            percent_axis(axes, is_labelled=at == 0)
            for line in panel.lines:
                draw_line(axes, panel.shares, line.accuracy, line.subject.colour)
            axes.set_xlim(0, 100)
            axes.set_xticks([0, 50, 100])
            axes.set_xlabel("patches lost (%)", labelpad=2)
            if at == 0:
                axes.set_ylabel("images right (%)", labelpad=3)
    return figure


def _note(data: PatchDrop) -> str:
    return f"Telling by the model's own map: {', '.join(data.explanations)}. Lost patches are {data.fill}."


def table(data: PatchDrop) -> DataTable:
    """One row for each disturbance: percent right and points lost, for each model."""
    subjects = [line.subject for line in data.panels[0].lines]
    found = {(what, name): (accuracy, lost) for what, name, accuracy, lost in data.rows}
    rows = []
    for what in dict.fromkeys(what for what, *_ in data.rows):
        cells = [found[what, subject.name] for subject in subjects]
        texts = [text for accuracy, lost in cells for text in (accuracy.text(1), lost.text(1))]
        rows.append((what, *texts))
    columns = [
        column for one in subjects for column in (f"{one.title} right (%)", f"{one.title} loses (points)")
    ]
    return DataTable(("What was done", *columns), tuple(rows))


patch_drop = figures.register("patch_drop")(
    Drawing(
        name="patch_drop",
        title="What can they lose and still answer?",
        explanation="Patches are taken out of the image. If a model falls soon when the patches that its own map calls "
        "telling go first, and late when they go last, the map speaks the truth and the answer hangs on few places.",
        definition="Share of images right, Wilson's 95 % interval as a band, the same images for all models, on one "
        "grid of patches. Lost: right before less right after, paired over images. Differences between models: "
        "bootstrap over the same images. The order of telling patches is each model's own. "
        "The table has patches shuffled and areas covered as well.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
