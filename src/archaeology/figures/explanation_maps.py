"""Why did the model say that? The image, and over it what each method says counted, with the marks of judges below."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from archaeology.core.names import joined, plural
from archaeology.explain.method import title_of
from archaeology.figures._explained_image import ExplainedImage, MethodMap, meaning_of
from archaeology.figures._explanation_ink import NO_EVIDENCE, NOTES, draw_map, draw_photo
from archaeology.figures._labels import LEFT
from archaeology.figures._theme import new_figure, place, themed
from archaeology.figures._world_ink import headline_height, write_at, write_headline
from archaeology.figures.drawing import DataTable, Drawing, explanation_figures
from archaeology.figures.words import fixed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGHEST = 99.5  # percentile of sizes that the colours end at; no value of a small grid lies above it
FEWEST, MOST = 3, 5  # panels across, where there are so many
SIDE, GAP, LETTERS = 2.15, 0.3, 42  # inches of a panel and between two, small letters that fit into one
ABOVE, BAR, LINE, BELOW = 0.42, 0.42, 0.15, 0.2  # inches around a panel
BETWEEN = 0.2  # inches between sections


@dataclass(frozen=True)
class MarkText:
    """A judge's mark below a map: higher is better.

    Attributes:
        text: The mark, with what maps that know nothing get.
        is_above_chance: Whether it lies above all of those.
    """

    text: str
    is_above_chance: bool


@dataclass(frozen=True)
class Panel:
    """One map.

    Attributes:
        method: Its registered name.
        title: In words.
        meaning: Of a bright place.
        values: Raw values; none (0 x 0) where nothing speaks for the class.
        limit: Value that the colours end at; they begin at 0, or at -limit where values have signs.
        is_signed: Whether values below zero speak against the class.
        is_clipped: Whether some value lies beyond the end of the colours.
        marks: One for each judge.
    """

    method: str
    title: str
    meaning: str
    values: Float[np.ndarray, "row column"]
    limit: float
    is_signed: bool
    is_clipped: bool
    marks: list[MarkText]


@dataclass(frozen=True)
class Section:
    """One model's answer to the image.

    Attributes:
        model: Its name.
        answer: What it says, in words.
        asked: The class explained, in words.
        photo: The image in colour.
        grey: The same without colour, 0 to 1.
        panels: One for each method.
        num_better: Maps that all judges mark above every random map.
        num_judged: Maps that were marked, without random ones.
        judges: Their names in words.
    """

    model: str
    answer: str
    asked: str
    photo: UInt8[np.ndarray, "height width channel"]
    grey: Float[np.ndarray, "height width"]
    panels: list[Panel]
    num_better: int
    num_judged: int
    judges: list[str]


@dataclass(frozen=True)
class ExplanationMaps:
    """Everything drawn: a section for each model."""

    sections: list[Section]


def compute(source: Sequence[ExplainedImage]) -> ExplanationMaps | None:
    """What each model says of the image and why; None where nothing was explained."""
    return ExplanationMaps([_section(one) for one in source]) if source else None


def _section(one: ExplainedImage) -> Section:
    judges = list(one.floor)
    photo = np.moveaxis(np.asarray(one.photo), 0, -1)
    first, others = one.answers[0], one.answers[1:]
    rest = joined([f"{name} {percent(share, 0)}" for name, share in others]) if others else ""
    judged = [found for found in one.maps if found.has_evidence and found.method != "random" and judges]
    return Section(
        model=one.model,
        answer=f"{first[0]} {percent(first[1], 0)}" + (f", then {rest}" if rest else ""),
        asked=f"{one.target} ({percent(one.probability, 0)})",
        photo=photo,
        grey=photo.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255,
        panels=[_panel(one, found) for found in one.maps],
        num_better=sum(all(one.beats_chance(found, judge) for judge in judges) for found in judged),
        num_judged=len(judged),
        judges=[judge.replace("_", " ") for judge in judges],
    )


def _panel(one: ExplainedImage, found: MethodMap) -> Panel:
    values = np.asarray(found.values, dtype=np.float64) if found.has_evidence else np.zeros((0, 0))
    limit, largest = ends_of(values)
    return Panel(
        found.method,
        title_of(found.method),
        meaning_of(found),
        values,
        limit,
        found.is_signed,
        largest > limit,
        [_mark(one, found, judge) for judge in one.floor] if found.has_evidence else [],
    )


def ends_of(values: Float[np.ndarray, "row column"]) -> tuple[float, float]:
    """Where colours end, and the largest size of a value; a few lone pixels must not leave all others pale."""
    if not values.size:
        return 0.0, 0.0
    sizes = np.abs(values)
    limit = float(np.percentile(sizes, HIGHEST, method="higher"))
    largest = float(sizes.max())
    return limit if limit > 0 else largest, largest


def _mark(one: ExplainedImage, found: MethodMap, judge: str) -> MarkText:
    floor = [value for value in one.floor[judge] if np.isfinite(value)]
    chance = f" (chance {fixed(float(np.mean(floor)), 2)})" if floor else ""
    mark = fixed(found.marks.get(judge, float("nan")), 2)
    return MarkText(f"{judge.replace('_', ' ')} {mark}{chance}", one.beats_chance(found, judge))


def headline(data: ExplanationMaps) -> str:
    """What each model says, and how many maps beat maps that know nothing, on this image."""
    said = "; ".join(_said(section) for section in data.sections)
    return f"{said[0].upper()}{said[1:]}."


def _said(section: Section) -> str:
    asked = f"why {section.asked}, asked of {section.model}"
    if not section.num_judged:
        return f"{asked}: {plural(len(section.panels), 'map')}"
    verb = "beats" if section.num_better == 1 else "beat"
    return (
        f"{asked}: {section.num_better} of {plural(section.num_judged, 'map')} {verb} every random map at "
        f"{joined(section.judges)}"
    )


def draw(data: ExplanationMaps) -> "Figure":
    """For each model the image, then a panel for each method."""
    across = across_of([1 + len(section.panels) for section in data.sections])
    width = max(2 * LEFT + across * SIDE + (across - 1) * GAP, 5.4)
    said = headline(data)
    heights = [-(-(1 + len(section.panels)) // across) * _tall(section) for section in data.sections]
    top = headline_height(width, said) + 0.12
    with themed("explanation_maps"):
        notes = [line for note in NOTES for line in wrap(note, int(17.5 * (width - 2 * LEFT)))]
        whole = top + sum(heights) + BETWEEN * (len(heights) - 1) + LINE * len(notes) + 0.12
        figure = new_figure(width, whole)
        write_headline(figure, said)
        for section, height in zip(data.sections, heights, strict=True):
            _draw_section(figure, section, top, across)
            top += height + BETWEEN
        for number, line in enumerate(notes):
            write_at(figure, LEFT, top - BETWEEN + LINE * number, line, size=7.0, colour="muted")
    return figure


def across_of(counts: Sequence[int]) -> int:
    """Panels in a row, so that rows of all sections leave the fewest places empty; the more the better."""
    most = min(MOST, max(counts))
    return min(
        range(min(FEWEST, most), most + 1),
        key=lambda across: (sum(-count % across for count in counts), -across),
    )


def _tall(section: Section) -> float:
    """Inches from one row of panels to the next."""
    return ABOVE + _side(section) + BAR + LINE * len(section.judges) + BELOW


def _side(section: Section) -> float:
    return SIDE * section.grey.shape[0] / section.grey.shape[1]


def _draw_section(figure: "Figure", section: Section, top: float, across: int) -> None:
    for number in range(1 + len(section.panels)):
        row, column = divmod(number, across)
        left, above = LEFT + column * (SIDE + GAP), top + row * _tall(section)
        axes = place(figure, left, above + ABOVE, SIDE, _side(section))
        below = above + ABOVE + _side(section)
        if number == 0:
            draw_photo(axes, section.photo)
            _write_title(figure, left, above, "What the model sees", section.model)
            first, _, rest = f"says {section.answer}".partition(", then ")
            lines = [first, *([f"then {rest}"] if rest else []), f"explained: {section.asked}"]
            for line, text in enumerate(lines):
                write_at(figure, left, below + 0.07 + LINE * line, shorten(text, LETTERS), size=7.0)
            continue
        panel = section.panels[number - 1]
        _write_title(figure, left, above, panel.title, panel.meaning)
        bar = place(figure, left, below + 0.07, SIDE, 0.08)
        draw_map(axes, bar, section.grey, panel.values, panel.limit, panel.is_signed, panel.is_clipped)
        for line, mark in enumerate(panel.marks):
            colour, weight = ("ink", "bold") if mark.is_above_chance else ("muted", "normal")
            write_at(
                figure, left, below + BAR + LINE * line, mark.text, size=7.0, colour=colour, weight=weight
            )


def _write_title(figure: "Figure", left: float, top: float, text: str, meaning: str) -> None:
    write_at(figure, left, top, text, weight="bold")
    write_at(figure, left, top + 0.18, shorten(meaning, LETTERS), size=7.0, colour="muted")


def shorten(text: str, letters: int) -> str:
    """`text`, cut to so many letters."""
    return text if len(text) <= letters else text[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"


def table(data: ExplanationMaps) -> DataTable:
    """What is written below the maps."""
    rows = []
    for section in data.sections:
        for panel in section.panels:
            marks = ", ".join(mark.text for mark in panel.marks) or NO_EVIDENCE
            largest = fixed(panel.limit, 4) if panel.values.size else NO_EVIDENCE
            rows.append((f"{panel.title}, {section.model}", section.asked, largest, marks))
    return DataTable(("Method", "Class explained", "Colours end at", "Marks"), tuple(rows))


explanation_maps = explanation_figures.register("explanation_maps")(
    Drawing(
        name="explanation_maps",
        title="Why did the model say that?",
        explanation="Each panel is one method's account of what counted for the answer; they often disagree, and the "
        "marks below say how much of it the model bears out on this image.",
        definition="Raw values on each method's own grid, over the image without colour; every panel has its own "
        f"scale, from 0 (or as far below it as above) to the value that {HIGHEST:g} % of sizes do not exceed. Marks "
        "are those of judges on this one image, chance the mean of random maps.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
