"""How coarse, or how fine, may images become? Accuracy on low-passed and on high-passed images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._robustness import Attacked, Ends, Subject, ends_of, part_of, stacked, subjects_of
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
from archaeology.figures._theme import new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"low": "Only coarse patterns left", "high": "Only fine patterns left"}
ASKED = 0.5  # cutoff that the headline speaks of, or the nearest one measured


@dataclass(frozen=True)
class PassLine:
    """One model under one filter: percent right, and points lost, at each cutoff."""

    subject: Subject
    accuracy: Float[np.ndarray, "end cutoff"]
    lost: Float[np.ndarray, "end cutoff"]


@dataclass(frozen=True)
class FrequencyPasses:
    """Both filters.

    Attributes:
        cutoffs: In percent of the finest pattern that pixels can show.
        low: Lines of images that keep what is coarser, one for each model.
        high: Lines of images that keep what is finer.
        clean: Percent right on whole images, for each model.
        n: Images.
    """

    cutoffs: Float[np.ndarray, " cutoff"]
    low: tuple[PassLine, ...]
    high: tuple[PassLine, ...]
    clean: tuple[Ends, ...]
    n: int


def compute(source: Attacked) -> FrequencyPasses | None:
    """Curves of the document; None where images were not filtered."""
    found = part_of(source, "passes")
    if not found:
        return None
    names = [str(name) for name in found["specimens"]]
    subjects = subjects_of(source.robustness or {}, names)
    chosen = [subjects[name] for name in names]
    return FrequencyPasses(
        cutoffs=100 * np.array(found["cutoffs"], dtype=float),
        low=_lines("low", found["table"], chosen),
        high=_lines("high", found["table"], chosen),
        clean=tuple(ends_of(found["clean"][name], "accuracy").in_percent for name in names),
        n=int(found["n"]),
    )


def _lines(
    kind: str, table: Sequence[Mapping[str, Any]], subjects: Sequence[Subject]
) -> tuple[PassLine, ...]:
    lines = []
    for subject in subjects:
        rows = [row for row in table if row["specimen"] == subject.name and row["kind"] == kind]
        accuracy, lost = (100 * stacked([ends_of(row, key) for row in rows]) for key in ("accuracy", "lost"))
        lines.append(PassLine(subject, accuracy, lost))
    return tuple(lines)


def headline(data: FrequencyPasses) -> str:
    """What each model surely loses without its fine and without its coarse patterns, at one cutoff for all."""
    at = int(np.argmin(np.abs(data.cutoffs - 100 * ASKED)))
    said = [_said(low, high, at) for low, high in zip(data.low, data.high, strict=True)]
    cutoff = percent(float(data.cutoffs[at]) / 100, 0)
    return f"Cut at {cutoff} of the finest frequency ({plural(data.n, 'image')}, 95 % intervals): {'; '.join(said)}."


def _said(low: PassLine, high: PassLine, at: int) -> str:
    coarse, fine = (_ends(line.lost, at) for line in (low, high))
    return (
        f"{low.subject.title} {_loses(coarse)} without fine patterns and {_loses(fine)} without coarse ones"
    )


def _ends(values: Float[np.ndarray, "end cutoff"], at: int) -> Ends:
    return Ends(*(float(end) for end in values[:, at]))


def _loses(lost: Ends) -> str:
    if lost.side > 0:
        return f"loses {fixed(lost.value, 1)} points ({lost.range(1)})"
    if lost.side < 0:
        return f"gains {fixed(-lost.value, 1)} points ({lost.turned(-1).range(1)})"
    return f"is not shown to lose anything ({lost.range(1)} points)"


def draw(data: FrequencyPasses) -> "Figure":
    """Two panels over one axis of cutoffs; dotted: right on whole images."""
    subjects = [line.subject for line in data.low]
    tall, above, below = 1.6, 0.28, 0.62
    top = key_height(subjects)
    with themed("frequency_passes"):
        figure = new_figure(WIDTH, top + above + tall + below)
        write_key(figure, subjects)
        boxes = panel_places(2, 2, top, tall, above, below)
        for kind, lines, box in zip(KINDS, (data.low, data.high), boxes, strict=True):
            axes = line_axes(figure, box, KINDS[kind])
            percent_axis(axes)
            for line, clean in zip(lines, data.clean, strict=True):
                draw_line(axes, data.cutoffs, line.accuracy, line.subject.colour)
                draw_level(axes, clean.value, line.subject.colour)
            axes.set_xlim(0, float(data.cutoffs[-1]))
            what = "coarser than" if kind == "low" else "finer than"
            axes.set_xlabel(f"only patterns {what} this kept\n(% of the finest frequency)", labelpad=2)
            if kind == "low":
                axes.set_ylabel("images right (%)", labelpad=3)
    return figure


def table(data: FrequencyPasses) -> DataTable:
    """One row for each filter and cutoff, one column for each model; then whole images."""
    rows: list[tuple[str, ...]] = []
    for kind, lines in zip(KINDS, (data.low, data.high), strict=True):
        for at, cutoff in enumerate(data.cutoffs.tolist()):
            what = "coarser" if kind == "low" else "finer"
            cells = [_ends(line.accuracy, at).text(1) for line in lines]
            rows.append((f"Kept: {what} than {percent(cutoff / 100, 1)}", *cells))
    rows.append(("Whole images", *(clean.text(1) for clean in data.clean)))
    return DataTable(("Filter", *(f"{line.subject.title} (%)" for line in data.low)), tuple(rows))


frequency_passes = figures.register("frequency_passes")(
    Drawing(
        name="frequency_passes",
        title="Coarse shapes or fine texture?",
        explanation="On the left images are blurred until only coarse patterns are left, on the right only fine ones "
        "are. A model that lives on fine texture falls early on the left and late on the right.",
        definition="Share of images right after a filter in the Fourier plane that keeps what is coarser (low pass) or "
        "finer (high pass) than the cutoff; 100 % is one cycle in two pixels. Bands: Wilson's 95 % intervals; dotted: "
        "the images as they are. Lost: right before less right after the filter, paired over the same images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
