"""Would it be right had it not looked there? Wrong answers mended, and right ones broken, by hiding patches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.core.names import plural
from archaeology.figures._dissection import NAMES, Apart, parts_of
from archaeology.figures._robustness import Ends, interval_of
from archaeology.figures._robustness_ink import WIDTH, draw_whiskers, note_height, write, write_note
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, p_value
from archaeology.robustness.sureness import sure_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.05
KINDS = {"wrong": "wrong answers mended", "right": "right answers broken"}
HIDDEN = {
    "changed": "the attended region",
    "by_chance": "as many random patches",
    "beside": "random beside the object",
}
NAME_WIDTH, ROW, BLOCK, ABOVE, BELOW = 1.75, 0.15, 0.6, 0.3, 0.42


@dataclass(frozen=True)
class Hidden:
    """What hiding did to one kind of answers, in percent and points.

    Attributes:
        kind: Key of `KINDS`.
        shares: By what was hidden, a key of `HIDDEN`.
        gain: The region less random patches.
        gain_beside: The region less random patches beside the object; NaN where no object is known.
        p: That `gain` is zero.
        p_beside: Likewise; NaN.
        patches: Share hidden.
        n: Images.
    """

    kind: str
    shares: Mapping[str, Ends]
    gain: Ends
    gain_beside: Ends
    p: float
    p_beside: float
    patches: float
    n: int


@dataclass(frozen=True)
class ModelMending:
    """One model: the rule of the region, and what hiding it did."""

    role: str
    rule: str
    hidden: tuple[Hidden, ...]


@dataclass(frozen=True)
class Mended:
    """Both models."""

    models: tuple[ModelMending, ...]


def compute(source: Apart) -> Mended | None:
    """Mending of the document; None where nothing was hidden."""
    found = {
        role: ModelMending(
            role, str(one["rule"]), tuple(_hidden(kind, one[kind]) for kind in KINDS if one[kind])
        )
        for role, one in parts_of(source, "mending").items()
    }
    models = tuple(one for one in found.values() if one.hidden)
    return Mended(models) if models else None


def _hidden(kind: str, row: Mapping[str, Any]) -> Hidden:
    return Hidden(
        kind=kind,
        shares={name: interval_of(row[name]).in_percent for name in HIDDEN if row[name] is not None},
        gain=interval_of(row["gain"]).in_percent,
        gain_beside=interval_of(row["gain_beside"]).in_percent,
        p=float(row["p_value"]),
        p_beside=float("nan") if row["p_beside"] is None else float(row["p_beside"]),
        patches=100 * float(row["patches"]),
        n=int(row["n"]),
    )


def headline(data: Mended) -> str:
    """Whether hiding the region mends more than hiding random patches."""
    return " ".join(_said(one) for one in data.models)


def _said(model: ModelMending) -> str:
    name = NAMES[model.role]
    wrong = next((one for one in model.hidden if one.kind == "wrong"), None)
    if wrong is None:
        return f"The {name} has no wrong answer with a region to hide."
    numbers = (
        f"{wrong.shares['changed'].bare(1)} % of {plural(wrong.n, 'wrong answer')} become right, with as many random "
        f"patches {wrong.shares['by_chance'].bare(1)} % (difference {wrong.gain.bare(1)} points, 95 % interval "
        f"{wrong.gain.range(1)})"
    )
    side = sure_side(wrong.gain.low, wrong.gain.high, wrong.n) * int(wrong.p < LEVEL)
    begin = {
        1: f"Hiding what the {name} wrongly attends mends answers by more than chance",
        0: f"Hiding what the {name} wrongly attends is not shown to mend answers",
        -1: f"Hiding what the {name} wrongly attends mends fewer answers than hiding anything",
    }[side]
    return f"{begin}: {numbers}, before other questions of the run are counted."


def draw(data: Mended) -> "Figure":
    """For each model two questions; in each the region filled, random patches open, those beside the object grey."""
    heights = [BLOCK * len(one.hidden) for one in data.models]
    with themed("mending"):
        key = (
            "filled: the attended region hidden, open: random patches, grey: random patches beside the object"
        )
        height = 0.1 + note_height(key) + sum(heights) + len(heights) * (ABOVE + BELOW)
        figure = new_figure(WIDTH, height)
        write_note(figure, 0.05, key)
        top = 0.1 + note_height(key)
        most = max(ends.high for one in data.models for row in one.hidden for ends in row.shares.values())
        for model, height in zip(data.models, heights, strict=True):
            write(figure, 0.1, top + 0.02, NAMES[model.role], colour=model.role, size=9.0, is_bold=True)
            axes = place(figure, NAME_WIDTH, top + ABOVE, WIDTH - NAME_WIDTH - 0.15, height)
            axes.set_xlim(0, most)
            axes.set_ylim(height - BLOCK / 2, -BLOCK / 2)
            inks = {"changed": model.role, "by_chance": model.role, "beside": "muted"}
            for at, row in enumerate(model.hidden):
                for beside, (name, ends) in enumerate(row.shares.items()):
                    spot = np.array([BLOCK * at + ROW * (beside - 1)])
                    draw_whiskers(axes, spot, np.array([[ends.value], [ends.low], [ends.high]]), inks[name])
                    edge = COLOURS[inks[name]]
                    fill = COLOURS["paper"] if name == "by_chance" else edge
                    middle = np.array([ends.value])
                    dots(axes, middle, spot, size=4.2, fill=fill, edge=edge, edge_width=1.1)
            names = [f"{KINDS[row.kind]}\n(n = {count(row.n)})" for row in model.hidden]
            axes.set_yticks([BLOCK * at for at in range(len(names))], names)
            axes.xaxis.set_major_locator(round_ticks(5))
            axes.grid(axis="x")
            bare(axes)
            axes.set_xlabel("images whose answer changes so (%)", labelpad=2)
            top += ABOVE + height + BELOW
    return figure


def table(data: Mended) -> DataTable:
    """One row for each model and question: what changes by hiding the region, random patches, those beside it."""
    rows = [
        (
            f"{NAMES[model.role]}: {KINDS[row.kind]}",
            count(row.n),
            f"{row.patches:.1f}",
            *(row.shares[name].text(1) if name in row.shares else NOT_KNOWN for name in HIDDEN),
            f"{row.gain.text(1)}, p {p_value(row.p)}",
            f"{row.gain_beside.text(1)}, p {p_value(row.p_beside)}"
            if np.isfinite(row.p_beside)
            else NOT_KNOWN,
        )
        for model in data.models
        for row in model.hidden
    ]
    columns = (
        "Answers",
        "Images",
        "Patches hidden (%)",
        "Region (%)",
        "Random (%)",
        "Beside (%)",
        "Beyond random (points)",
        "Beyond beside (points)",
    )
    return DataTable(columns, tuple(rows))


mending = figures.register("mending")(
    Drawing(
        name="mending",
        title="Would it be right had it not looked there?",
        explanation="A map that shows attention on the background accuses it; only hiding that place tells whether it "
        "did harm. Hiding anything changes some answers, so the same is done with random patches and to right answers.",
        definition="Hidden under the image's mean colour: patches without any of the object (box or mask) that the map "
        "of the model gives more than an even share; where no object is known, patches that this model's map gives "
        "more than an even share and the other model's does not; a quarter of all patches at most, the most attended. "
        "Random patches are as many, anywhere or beside the object, five draws averaged. Intervals at 95 % leave room "
        "for images nobody saw (Gaffke); differences are paired, p by sign flips. Images without such a patch "
        "are left out.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
