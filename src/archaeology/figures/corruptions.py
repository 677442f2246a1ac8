"""What common corruptions cost: error by kind, over all severities, models side by side; and by severity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._robustness import Attacked, Ends, Subject, ends_of, part_of, stacked, subjects_of
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_line,
    draw_whiskers,
    key_height,
    line_axes,
    write,
    write_key,
)
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import count, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES_WIDTH, COLUMN, SIDE = (
    1.32,
    2.05,
    1.08,
)  # inches: of the names, of the errors by kind and of those by severity
ROW, ABOVE, BELOW, SPREAD = 0.2, 0.3, 0.5, 0.5


@dataclass(frozen=True)
class CorruptionLine:
    """One model; everything in percent of images wrong.

    Attributes:
        subject: The model.
        clean: On images as they are.
        mean: Over all kinds and severities.
        by_kind: Over the severities of each kind.
        by_severity: Over the kinds of each severity.
        cells: Of each kind and severity.
        relation: Mean corruption error: relative to the reference, 1 is as bad; unknown where that has no error.
        gap: The mean less that of the reference, in points, paired.
    """

    subject: Subject
    clean: Ends
    mean: Ends
    by_kind: Float[np.ndarray, "end kind"]
    by_severity: Float[np.ndarray, "end severity"]
    cells: Float[np.ndarray, "kind severity"]
    relation: Ends
    gap: Ends


@dataclass(frozen=True)
class Corruptions:
    """All models.

    Attributes:
        kinds: Names of the corruptions, in words, family by family.
        families: The family of each.
        severities: Ascending.
        lines: One for each model.
        reference: Number of the line that others are compared with.
        n: Images.
    """

    kinds: tuple[str, ...]
    families: tuple[str, ...]
    severities: tuple[int, ...]
    lines: tuple[CorruptionLine, ...]
    reference: int
    n: int


def compute(source: Attacked) -> Corruptions | None:
    """Errors of the document; None where images were not corrupted."""
    found = part_of(source, "corruptions")
    if not found:
        return None
    names = [str(name) for name in found["specimens"]]
    subjects = subjects_of(source.robustness or {}, names)
    families: Mapping[str, str] = found["corruptions"]
    order = list(dict.fromkeys(families.values()))
    kinds = sorted(families, key=lambda kind: order.index(families[kind]))
    severities = sorted({int(row["severity"]) for row in found["table"]})
    n = int(found["n"])
    return Corruptions(
        kinds=tuple(kind.replace("_", " ") for kind in kinds),
        families=tuple(families[kind] for kind in kinds),
        severities=tuple(severities),
        lines=tuple(
            _line(subjects[name], found["models"][name], found["table"], kinds, severities) for name in names
        ),
        reference=names.index(found["reference"]),
        n=n,
    )


def _line(
    subject: Subject,
    model: Mapping[str, Any],
    table: Sequence[Mapping[str, Any]],
    kinds: Sequence[str],
    severities: Sequence[int],
) -> CorruptionLine:
    right = {
        (row["corruption"], int(row["severity"])): ends_of(row, "accuracy")
        for row in table
        if row["specimen"] == subject.name
    }
    wrong = np.array([[_wrong(right[kind, severity]) for severity in severities] for kind in kinds])
    clean = ends_of(model, "clean")
    return CorruptionLine(
        subject=subject,
        clean=Ends(*_wrong(clean)),
        mean=ends_of(model, "mean_error").in_percent,
        by_kind=_errors(model.get("by_kind"), "corruption", kinds, wrong.mean(axis=1).T),
        by_severity=_errors(model.get("by_severity"), "severity", severities, wrong.mean(axis=0).T),
        cells=wrong[:, :, 0],
        relation=ends_of(model, "mce"),
        gap=ends_of(model, "difference").in_percent,
    )


def _errors(
    rows: Sequence[Mapping[str, Any]] | None,
    key: str,
    order: Sequence[object],
    averaged: Float[np.ndarray, "end row"],
) -> Float[np.ndarray, "end row"]:
    """Percent wrong of each row, in this order; of an older run averages, whose intervals are rather too wide."""
    if rows is None:
        return averaged
    found = {row[key]: ends_of(row, "error") for row in rows}
    return 100 * stacked([found[name] for name in order])


def _wrong(right: Ends) -> tuple[float, float, float]:
    """Percent wrong, with the ends of its interval."""
    return 100 * (1 - right.value), 100 * (1 - right.high), 100 * (1 - right.low)


def headline(data: Corruptions) -> str:
    """The mean error of each model, who surely errs less, and what surely hurts more than the average corruption."""
    means = ", ".join(f"{line.subject.title} {line.mean.text(1)}" for line in data.lines)
    kinds = plural(len(data.kinds), "corruption")
    severities = plural(len(data.severities), "severity", "severities")
    said = f"Mean error over {kinds} at {severities} (%, 95 % interval, {plural(data.n, 'image')}): {means}."
    reference = data.lines[data.reference].subject.title
    for at, line in enumerate(data.lines):
        if at == data.reference or not line.gap.is_known:
            continue
        if line.gap.side:
            more = "more" if line.gap.side > 0 else "less"
            gap = line.gap.turned(line.gap.side)
            said += (
                f" {line.subject.title} surely errs {more} than {reference}, by {fixed(gap.value, 1)} points "
                f"({gap.range(1)})."
            )
        else:
            said += (
                f" {line.subject.title} and {reference} cannot be told apart ({line.gap.range(1)} points)."
            )
    return said + "".join(_worst(data, line) for line in data.lines)


def _worst(data: Corruptions, line: CorruptionLine) -> str:
    at = int(np.argmax(line.by_kind[0]))
    value, low, high = (float(end) for end in line.by_kind[:, at])
    if low <= line.mean.high:
        return ""
    return (
        f" Hardest for {line.subject.title}: {data.kinds[at]}, {fixed(value, 1)} % wrong ({fixed(low, 1)} to "
        f"{fixed(high, 1)})."
    )


def draw(data: Corruptions) -> "Figure":
    """Kinds down, a dot with its interval for each model; on the right the mean of all kinds by severity."""
    subjects = [line.subject for line in data.lines]
    top = key_height(subjects) + ABOVE
    tall = ROW * len(data.kinds)
    with themed("corruptions"):
        figure = new_figure(WIDTH, top + tall + BELOW)
        write_key(figure, subjects)
        left = place(figure, NAMES_WIDTH, top, COLUMN, tall)
        _draw_kinds(left, data)
        write(figure, NAMES_WIDTH, top - 0.2, "By kind", is_bold=True)
        side = NAMES_WIDTH + COLUMN + 0.45
        right = line_axes(figure, (side, top, SIDE, min(tall, 1.7)), "By severity")
        along = np.array(data.severities, dtype=float)
        for line in data.lines:
            draw_line(right, along, line.by_severity, line.subject.colour)
            right.axhline(
                line.clean.value, color=COLOURS[line.subject.colour], linewidth=1, linestyle=(0, (1, 2))
            )
        right.set_ylim(0, 100)
        right.set_xlim(along[0], along[-1] if len(along) > 1 else along[0] + 1)
        right.set_xticks(along, [str(one) for one in data.severities])
        right.set_xlabel("severity\n(dotted: clean)", labelpad=2)
    return figure


def _draw_kinds(axes: "Axes", data: Corruptions) -> None:
    many = len(data.lines)
    places = np.arange(len(data.kinds), dtype=float)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(data.kinds) - 0.5, -0.5)
    for at in range(1, len(data.kinds)):
        if data.families[at] != data.families[at - 1]:
            axes.axhline(
                at - 0.5, color=COLOURS["line"], linewidth=0.8, xmin=-NAMES_WIDTH / COLUMN, clip_on=False
            )
    for at, line in enumerate(data.lines):
        rows = places + SPREAD * ((at + 0.5) / many - 0.5)
        draw_whiskers(axes, rows, line.by_kind, line.subject.colour)
        dots(axes, line.by_kind[0], rows, size=3.8, fill=COLOURS[line.subject.colour])
    axes.set_yticks(places, data.kinds)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.grid(axis="x")
    bare(axes)
    axes.set_xlabel("images wrong (%), mean of severities", labelpad=2)


def table(data: Corruptions) -> DataTable:
    """Clean images and the mean, then a row for each kind: its error, and that at every severity."""
    rows: list[tuple[str, ...]] = [
        ("No corruption", *(line.clean.text(1) for line in data.lines)),
        ("Mean of all", *(line.mean.text(1) for line in data.lines)),
        ("Relative to the reference (mCE)", *(line.relation.text(2) for line in data.lines)),
    ]
    for at, (kind, family) in enumerate(zip(data.kinds, data.families, strict=True)):
        rows.append((f"{kind} ({family})", *(_cell(line, at) for line in data.lines)))
    for at, severity in enumerate(data.severities):
        ends = [Ends(*(float(end) for end in line.by_severity[:, at])) for line in data.lines]
        rows.append((f"Severity {count(severity)}", *(one.text(1) for one in ends)))
    return DataTable(("Corruption", *(f"{line.subject.title} wrong (%)" for line in data.lines)), tuple(rows))


def _cell(line: CorruptionLine, at: int) -> str:
    mean = Ends(*(float(end) for end in line.by_kind[:, at])).text(1)
    return f"{mean}; by severity {', '.join(fixed(float(one), 0) for one in line.cells[at])}"


corruptions = figures.register("corruptions")(
    Drawing(
        name="corruptions",
        title="What do noise, blur and weather cost?",
        explanation="Nobody attacks here: images are spoiled in the ways cameras, weather and files spoil them, from "
        "slightly to badly. The further right a dot, the more such images the model gets wrong.",
        definition="Share of images wrong, mean over the severities of each kind, its 95 % interval the mean of theirs "
        "(Wilson's), which is rather too wide; means of all kinds and their difference from the reference (the first "
        "model) by a paired bootstrap over images. mCE: mean over kinds of the error over the reference's. A kind is "
        "called hardest where its interval lies above that of the mean.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
