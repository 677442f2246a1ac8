"""Where failures gather: share of images right in each fifth of an attribute, such as brightness, for both models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._robustness import plain_float
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, fixed, p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.05
NAMES = {"vit": "ViT", "cnn": "CNN"}
ORDER = ("lowest", "second", "middle", "fourth", "highest")
COLUMNS, PANEL, TALL, GAP_ACROSS, GAP_DOWN, LEFT, TOP = 4, 1.05, 0.95, 0.2, 0.52, 0.48, 0.42


@dataclass(frozen=True)
class ByFifth:
    """One model and one attribute.

    Attributes:
        role: "vit" or "cnn".
        attribute: What people call it.
        unit: Its unit and range.
        right: Percent right in each fifth, the lowest values first; NaN where it has no images.
        low: Lower ends of their intervals.
        high: Upper ends.
        images: In each fifth.
        gap: Highest less lowest fifth, in points, with the ends of its interval.
        p: Corrected for all questions on causes.
    """

    role: str
    attribute: str
    unit: str
    right: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    images: tuple[int, ...]
    gap: tuple[float, float, float]
    p: float


@dataclass(frozen=True)
class AccuracyByAttribute:
    """All models and attributes of a run, and of how many images."""

    rows: tuple[ByFifth, ...]
    n: int


def compute(run: RunDirectory) -> AccuracyByAttribute | None:
    """The fifths in `causes.json`; None where causes were not looked for."""
    document = run.causes or {}
    found = document.get("attributes")
    if not found:
        return None
    roles = {name: role for role, name in document["roles"].items()}
    rows = []
    for one in found:
        shares, gap = one["shares"], one["difference"]
        ends = {
            end: tuple(100 * plain_float(share[end]) for share in shares) for end in ("value", "low", "high")
        }
        value, low, high = (100 * plain_float(gap[end]) for end in ("value", "low", "high"))
        rows.append(
            ByFifth(
                roles[one["model"]], str(one["title"]), str(one["unit"]), ends["value"], ends["low"], ends["high"],
                tuple(int(share["n"]) for share in shares), (value, low, high), float(one["p_corrected"]),
            )
        )  # fmt: skip
    return AccuracyByAttribute(tuple(rows), int(document["n"]))


def headline(data: AccuracyByAttribute) -> str:
    """With which attributes failing goes, after correction for all questions on causes."""
    sure = [row for row in data.rows if row.p < LEVEL]
    if not sure:
        return (
            f"Of no attribute it could be shown that failing goes with it, among {plural(data.n, 'image')} and after "
            "correction for all questions on causes."
        )
    said = [
        f"{row.attribute} with that of the {NAMES[row.role]} (highest less lowest fifth {fixed(row.gap[0], 1)} points, "
        f"{fixed(row.gap[1], 1)} to {fixed(row.gap[2], 1)})"
        for row in sorted(sure, key=lambda row: row.p)
    ]
    return (
        f"What goes with being right among {plural(data.n, 'image')}, after correction for all questions on causes: "
        f"{'; '.join(said)}. That is no proof that it is the cause."
    )


def draw(data: AccuracyByAttribute) -> "Figure":
    """A panel for each attribute; in each both models over the five fifths."""
    names = list(dict.fromkeys(row.attribute for row in data.rows))
    lines = -(-len(names) // COLUMNS)
    with themed("accuracy_by_attribute"):
        width = LEFT + COLUMNS * PANEL + (COLUMNS - 1) * GAP_ACROSS + 0.1
        figure = new_figure(width, TOP + lines * TALL + (lines - 1) * GAP_DOWN + 0.42)
        for place_of, (role, name) in enumerate(NAMES.items()):
            at = (LEFT / width + 0.12 * place_of, 0.985)
            figure.text(*at, name, color=COLOURS[role], size=9, weight="bold", ha="left", va="top")
        for number, name in enumerate(names):
            down, across = divmod(number, COLUMNS)
            axes = place(
                figure, LEFT + across * (PANEL + GAP_ACROSS), TOP + down * (TALL + GAP_DOWN), PANEL, TALL
            )
            _panel(axes, name, [row for row in data.rows if row.attribute == name])
            if across:
                axes.set_yticklabels([])
            else:
                axes.set_ylabel("right (%)", labelpad=2)
    return figure


def _panel(axes: "Axes", name: str, rows: list[ByFifth]) -> None:
    axes.set_xlim(-0.5, 4.5)
    axes.set_ylim(0, 100)
    for number, row in enumerate(rows):
        at, colour = np.arange(5.0) + 0.24 * (number - (len(rows) - 1) / 2), COLOURS[row.role]
        values = np.array(row.right)
        gaps = np.full(5, np.nan)
        whiskers = np.stack([np.array(row.low), np.array(row.high), gaps], axis=1).ravel()
        axes.plot(np.repeat(at, 3), whiskers, color=colour, linewidth=1.1)
        known = np.isfinite(values)
        dots(axes, at[known], values[known], size=3.2, fill=colour)
    axes.set_title(name, fontsize=8, loc="left", pad=3)
    axes.set_xticks([0, 4], ["low", "high"])
    axes.yaxis.set_major_locator(round_ticks(2))
    axes.grid(axis="y")
    bare(axes)
    axes.tick_params(pad=1)


def table(data: AccuracyByAttribute) -> DataTable:
    """One row for each model and attribute: five shares, the gap, its p-value."""
    rows = []
    for row in data.rows:
        shares = (
            f"{fixed(value, 1)} ({fixed(low, 1)} to {fixed(high, 1)}, n = {n})" if n else NOT_KNOWN
            for value, low, high, n in zip(row.right, row.low, row.high, row.images, strict=True)
        )
        gap = f"{fixed(row.gap[0], 1)} ({fixed(row.gap[1], 1)} to {fixed(row.gap[2], 1)})"
        p = p_value(row.p).removeprefix("= ")
        rows.append((f"{NAMES[row.role]}: {row.attribute} ({row.unit})", *shares, gap, p))
    columns = ("Model and attribute", *(f"{name.capitalize()} fifth (% right)" for name in ORDER))
    return DataTable((*columns, "Highest less lowest (points)", "p, corrected"), tuple(rows))


accuracy_by_attribute = figures.register("accuracy_by_attribute")(
    Drawing(
        name="accuracy_by_attribute",
        title="Do failures gather among dark, flat or blurred images?",
        explanation="Every class is sorted by the attribute and cut into fifths; where the dots rise or fall from left "
        "to right, failing goes with it. What goes with failing need not cause it: small objects are hard for anyone.",
        definition="Share of images whose most probable class is the label in each fifth (made within every class, so "
        "that a hard class does not pass for a cause), with Wilson's interval. The gap is that of the outer fifths, "
        "with Newcombe's interval. p: rank of the attribute against being right, within classes (Mantel), corrected "
        "for all questions on causes (Holm).",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
