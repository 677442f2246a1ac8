"""Do changes that break one model break another? Each model's adversarial images, tried on all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._robustness import (
    Attacked,
    Ends,
    Subject,
    ends_of,
    inked,
    part_of,
    shortened,
    size_text,
    subjects_of,
)
from archaeology.figures._robustness_ink import WIDTH, write
from archaeology.figures._theme import COLOURS, SEQUENTIAL, bare, colour_bar, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES_WIDTH, CELL, TOP = 1.75, 0.62, 0.62
LETTER = 0.058  # inches of a small one
PALE = 45.0  # percent from which on dark letters are read on the colour


@dataclass(frozen=True)
class TransferCell:
    """Images attacked on one model and tried on another, in percent of those that both are right about.

    Attributes:
        success: That break the model they are tried on.
        noise: That noise of the same size breaks.
        beyond: Success less noise, in points, paired.
        n: Images that both models are right about.
    """

    success: Ends
    noise: Ends
    beyond: Ends
    n: int


@dataclass(frozen=True)
class Transfer:
    """All pairs.

    Attributes:
        subjects: The models.
        cells: A row for each model attacked, a column for each that was tried.
        success: Their success in percent; NaN where no image is left.
        size: Of the change, in words.
    """

    subjects: tuple[Subject, ...]
    cells: tuple[tuple[TransferCell, ...], ...]
    success: Float[np.ndarray, "source target"]
    size: str


def compute(source: Attacked) -> Transfer | None:
    """The matrix of the document; None where nothing was tried on another model."""
    found = part_of(source, "transfer")
    if not found:
        return None
    names = [str(name) for name in found["specimens"]]
    subjects = subjects_of(source.robustness or {}, names)
    rows = {(row["source"], row["target"]): row for row in found["table"]}
    cells = tuple(tuple(_cell(rows.get((one, other)) or {}) for other in names) for one in names)
    return Transfer(
        subjects=tuple(subjects[name] for name in names),
        cells=cells,
        success=np.array([[cell.success.value for cell in row] for row in cells]),
        size=size_text(float(found["epsilon"]), str(found["norm"])),
    )


def _cell(row: Mapping[str, Any]) -> TransferCell:
    success, noise, beyond = (ends_of(row, key).in_percent for key in ("success", "noise", "beyond_noise"))
    return TransferCell(success, noise, beyond, int(row.get("n") or 0))


def headline(data: Transfer) -> str:
    """How many foreign models surely break beyond noise, the strongest such case, and the weakest."""
    foreign = [
        (one, other)
        for one in range(len(data.subjects))
        for other in range(len(data.subjects))
        if one != other
    ]
    sure = [pair for pair in foreign if _at(data, pair).beyond.side > 0]
    pairs = plural(len(foreign), "pair of two models", "pairs of two models")
    if not sure:
        counts = sorted(_at(data, pair).n for pair in foreign)
        of = count(counts[0]) if counts[0] == counts[-1] else f"{count(counts[0])} to {count(counts[-1])}"
        return (
            f"In none of {pairs} do changes up to {data.size} surely carry over beyond noise ({of} images)."
        )
    best = max(sure, key=lambda pair: _at(data, pair).beyond.value)
    return (
        f"Changes up to {data.size} made against one model surely break another beyond what noise does in "
        f"{count(len(sure))} of {pairs}; most from {_pair(data, best)}.{_asymmetry(data)}"
    )


def _at(data: Transfer, pair: tuple[int, int]) -> TransferCell:
    return data.cells[pair[0]][pair[1]]


def _pair(data: Transfer, pair: tuple[int, int]) -> str:
    cell = _at(data, pair)
    one, other = (data.subjects[at].title for at in pair)
    return (
        f"{one} to {other}: {fixed(cell.success.value, 1)} % (95 % interval {cell.success.range(1)}, "
        f"{plural(cell.n, 'image')}) against {fixed(cell.noise.value, 1)} % by noise"
    )


def _asymmetry(data: Transfer) -> str:
    """The two models whose ways differ most, if their intervals beyond noise do not touch."""
    found: list[tuple[float, int, int]] = []
    for one in range(len(data.subjects)):
        for other in range(len(data.subjects)):
            there, back = data.cells[one][other].beyond, data.cells[other][one].beyond
            if one != other and there.is_known and back.is_known and there.low > back.high:
                found.append((there.value - back.value, one, other))
    if not found:
        return ""
    _, one, other = max(found)
    there, back = data.cells[one][other].beyond, data.cells[other][one].beyond
    first, second = data.subjects[one].title, data.subjects[other].title
    return (
        f" It is a one-way street: beyond noise {fixed(there.value, 1)} points ({there.range(1)}) from {first} to "
        f"{second}, {fixed(back.value, 1)} ({back.range(1)}) the other way."
    )


def draw(data: Transfer) -> "Figure":
    """Attacked down, tried on across: the share broken with its interval, and what noise breaks."""
    many = len(data.subjects)
    wide = min(WIDTH - NAMES_WIDTH - 0.15, 1.5 * many)
    tall = CELL * many
    with themed("transfer"):
        figure = new_figure(WIDTH, TOP + tall + 0.62)
        write(figure, 0.1, TOP - 0.2, "changed against", colour="muted")
        write(figure, NAMES_WIDTH, 0.05, "tried on", colour="muted")
        axes = place(figure, NAMES_WIDTH, TOP, wide, tall)
        axes.imshow(
            data.success,
            cmap=SEQUENTIAL,
            vmin=0,
            vmax=100,
            aspect="auto",
            interpolation="none",
            clip_on=False,
        )
        axes.set_xticks([])
        axes.set_yticks([])
        bare(axes)
        for at, one in enumerate(data.subjects):
            middle = TOP + (at + 0.5) * CELL - 0.07
            write(figure, 0.1, middle, one.title, colour=one.colour, size=8.0)
            _write_column(figure, one, at / many * wide, at if many > 2 else -1)
        _write_cells(axes, data)
        bar = place(figure, NAMES_WIDTH, TOP + tall + 0.14, wide, 0.1)
        colour_bar(bar, SEQUENTIAL, 0.0, 100.0, "images broken (%)")
    return figure


def _write_column(figure: "Figure", one: Subject, left: float, turn: int) -> None:
    """A name above its column, `left` inches into the matrix; where they would touch, names take turns in height."""
    above = TOP - (0.36 if turn >= 0 and turn % 2 == 0 else 0.2)
    room = WIDTH - NAMES_WIDTH - left - 0.05
    name = shortened(one.title, max(6, int(room / LETTER)))
    write(figure, NAMES_WIDTH + left, above, name, colour=one.colour, size=8.0 if turn < 0 else 7.0)


def _write_cells(axes: "Axes", data: Transfer) -> None:
    for row, cells in enumerate(data.cells):
        for column, cell in enumerate(cells):
            colour = "black" if cell.success.value >= PALE else "white"
            if not cell.success.is_known:
                axes.text(column, row, NOT_KNOWN, ha="center", va="center", color=COLOURS["muted"])
                continue
            for shift, text, size in (
                (-0.22, f"{fixed(cell.success.value, 0)} %", 10),
                (0.08, cell.success.range(0), 7),
                (0.32, f"noise {fixed(cell.noise.value, 0)} %", 7),
            ):
                axes.text(
                    column, row + shift, inked(text), ha="center", va="center", color=colour, fontsize=size
                )


def table(data: Transfer) -> DataTable:
    """One row for each pair: broken by the attack, by noise, and the difference."""
    rows = []
    for one, cells in zip(data.subjects, data.cells, strict=True):
        for other, cell in zip(data.subjects, cells, strict=True):
            numbers = (part.text(1) for part in (cell.success, cell.noise, cell.beyond))
            rows.append((f"{one.title} to {other.title}", *numbers, count(cell.n)))
    columns = ("From and to", "Broken (%)", "Broken by noise (%)", "Beyond noise (points)", "Images")
    return DataTable(columns, tuple(rows))


transfer = figures.register("transfer")(
    Drawing(
        name="transfer",
        title="Does what fools one model fool another?",
        explanation="Each image was changed against the model of its row and shown to the model of its column. Off the "
        "diagonal, a share far above that of noise means that both models lean on the same fragile patterns.",
        definition="Of the images that both models are right about, the share that the changed image breaks, with "
        "Wilson's 95 % interval; the attack takes all its steps, also after its own model is wrong. Noise: each "
        "attack's own changes dealt out to other places with random signs. Beyond noise: the difference, paired over "
        "images. Two ways differ where the intervals beyond noise do not touch.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
