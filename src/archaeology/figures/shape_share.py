"""Shape or texture? Of objects with the shape of one class and the texture of another, the share named by shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.figures._robustness import Attacked, Ends, Subject, ends_of, part_of, stacked, subjects_of
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_line,
    draw_whiskers,
    line_axes,
    percent_axis,
    write,
)
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import count, fixed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVEN = 50.0  # percent: as often by shape as by texture
PAIRS = {  # kind of the survey: what stands for the shape and for the texture
    "cue_conflict": ("shape", "texture"),
    "phase": ("outlines", "texture"),
}
ROW = 0.36


@dataclass(frozen=True)
class ShapeLine:
    """One model.

    Attributes:
        subject: The model.
        share: Percent of decisions by shape, among those by shape or texture, on images as they are.
        decisions: How many those are.
        by_cutoff: The same after low-passes, then as they are.
        by_class: The same for objects of one shape each, as they are.
    """

    subject: Subject
    share: Ends
    decisions: int
    by_cutoff: Float[np.ndarray, "end cutoff"]
    by_class: tuple[Ends, ...]


@dataclass(frozen=True)
class ShapeShare:
    """All models.

    Attributes:
        lines: One for each model.
        cutoffs: Of the low-passes in percent of the finest frequency; 100 stands for images as they are.
        classes: Names of the shapes.
        gaps: For each two models (numbers of lines) the share of the first less that of the other, in points.
        kind: "cue_conflict" or "phase".
        n: Images.
    """

    lines: tuple[ShapeLine, ...]
    cutoffs: Float[np.ndarray, " cutoff"]
    classes: tuple[str, ...]
    gaps: tuple[tuple[int, int, Ends], ...]
    kind: str
    n: int


def compute(source: Attacked) -> ShapeShare | None:
    """Shares of the document; None where shape and texture were not set against each other."""
    found = part_of(source, "shape")
    if not found:
        return None
    names = [str(name) for name in found["specimens"]]
    subjects = subjects_of(source.robustness or {}, names)
    plain = {row["specimen"]: row for row in found["table"] if row["cutoff"] is None}
    classes = tuple(str(name) for name in plain[names[0]]["by_class"])
    cutoffs = sorted({float(row["cutoff"]) for row in found["table"] if row["cutoff"] is not None})
    return ShapeShare(
        lines=tuple(_line(subjects[name], found["table"], plain[name], cutoffs) for name in names),
        cutoffs=100 * np.array([*cutoffs, 1.0]),
        classes=classes,
        gaps=tuple(
            (names.index(row["specimen"]), names.index(row["other"]), ends_of(row, "difference").in_percent)
            for row in found["differences"]
            if row["cutoff"] is None
        ),
        kind=str(found.get("kind") or "cue_conflict"),
        n=int(found["n"]),
    )


def _line(
    subject: Subject, table: Sequence[Mapping[str, Any]], plain: Mapping[str, Any], cutoffs: Sequence[float]
) -> ShapeLine:
    own = {row["cutoff"]: row for row in table if row["specimen"] == subject.name}
    return ShapeLine(
        subject=subject,
        share=ends_of(plain, "shape_share").in_percent,
        decisions=int(plain["num_decisions"]),
        by_cutoff=100 * stacked([ends_of(own[cutoff], "shape_share") for cutoff in (*cutoffs, None)]),
        by_class=tuple(ends_of(row, "shape_share").in_percent for row in plain["by_class"].values()),
    )


def headline(data: ShapeShare) -> str:
    """Each model's share, on which side of even it surely lies, and the largest sure difference."""
    said = "; ".join(_said(line, data.kind) for line in data.lines)
    sure = [gap for gap in data.gaps if gap[2].side]
    if not sure:
        return f"{said}." if len(data.lines) == 1 else f"{said}; no two models surely differ."
    first, other, gap = max(sure, key=lambda one: abs(one[2].value))
    more, less = (first, other) if gap.side > 0 else (other, first)
    gap = gap.turned(gap.side)
    return (
        f"{said}; {data.lines[more].subject.title} surely goes by {PAIRS[data.kind][0]} more often than "
        f"{data.lines[less].subject.title}, by {fixed(gap.value, 1)} points ({gap.range(1)})."
    )


def _said(line: ShapeLine, kind: str) -> str:
    shape, texture = PAIRS[kind]
    if not line.share.is_known:
        return f"{line.subject.title} never named {shape} or {texture}"
    found = f"{fixed(line.share.value, 1)} % of {count(line.decisions)} decisions (95 % interval {line.share.range(1)})"
    if line.share.low > EVEN:
        return f"{line.subject.title} goes by {shape}: {found}"
    if line.share.high < EVEN:
        return f"{line.subject.title} goes by {texture}: by {shape} in {found}"
    return f"{line.subject.title} goes neither surely by {shape} nor by {texture}: by {shape} in {found}"


def draw(data: ShapeShare) -> "Figure":
    """On the left each model's share with its interval; on the right what is left of it after low-passes."""
    tall = max(ROW * len(data.lines), 1.15)
    top = 0.5
    with themed("shape_share"):
        figure = new_figure(WIDTH, top + tall + 0.62)
        left = place(figure, 0.12, top, 2.3, tall)
        shape, texture = PAIRS[data.kind]
        write(figure, 0.12, top - 0.46, f"Decisions by {shape} (%)", is_bold=True)
        write(figure, 0.12, top - 0.26, f"\N{LEFTWARDS ARROW} by {texture}", colour="muted", size=7.5)
        write(
            figure,
            2.42,
            top - 0.26,
            f"by {shape} \N{RIGHTWARDS ARROW}",
            colour="muted",
            size=7.5,
            side="right",
        )
        left.axvline(EVEN, color=COLOURS["muted"], linewidth=1)
        left.set_xlim(0, 100)
        left.set_ylim(len(data.lines) - 0.5, -0.5)
        for row, line in enumerate(data.lines):
            at = np.array([float(row) + 0.15])
            write(
                figure,
                0.12,
                top + (row + 0.06) / len(data.lines) * tall,
                line.subject.title,
                colour=line.subject.colour,
            )
            if line.share.is_known:
                draw_whiskers(left, at, stacked([line.share]), line.subject.colour)
                dots(left, np.array([line.share.value]), at, size=5.5, fill=COLOURS[line.subject.colour])
        left.set_yticks([])
        left.set_xticks([0, 25, 50, 75, 100])
        left.grid(axis="x")
        bare(left)
        right = line_axes(figure, (2.85, top, 2.05, tall), "When images are blurred", "")
        percent_axis(right)
        for line in data.lines:
            draw_line(right, data.cutoffs, line.by_cutoff, line.subject.colour)
        right.set_xlim(0, 100)
        right.set_xlabel("only patterns coarser than this kept\n(% of the finest; 100: all)", labelpad=2)
    return figure


def table(data: ShapeShare) -> DataTable:
    """The share of all decisions, by class of the shape, and after each low-pass, one column for each model."""
    rows: list[tuple[str, ...]] = [("All decisions", *(line.share.text(1) for line in data.lines))]
    for at, name in enumerate(data.classes):
        rows.append((f"Shape: {name}", *(line.by_class[at].text(1) for line in data.lines)))
    for at, cutoff in enumerate(data.cutoffs[:-1].tolist()):
        cells = [Ends(*(float(end) for end in line.by_cutoff[:, at])).text(1) for line in data.lines]
        rows.append((f"Only patterns coarser than {percent(cutoff / 100, 1)}", *cells))
    return DataTable(("Decisions", *(f"{line.subject.title} (%)" for line in data.lines)), tuple(rows))


shape_share = figures.register("shape_share")(
    Drawing(
        name="shape_share",
        title="Do they go by shape or by texture?",
        explanation="The images have the outlines of one class and the texture of another, so that a model must "
        "choose. People go by shape; blur takes the texture away.",
        definition="Of the decisions that name the class of the shape or that of the texture, the share that names the "
        "shape, with Wilson's 95 % interval; other answers are left out. Images: the conflict split of cue_conflict, "
        "or, where the models know other classes, hybrids with the Fourier phases (outlines) of one image and the "
        "amplitudes (texture) of one of another class. Differences: bootstrap over the same images. Blur: low pass.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
