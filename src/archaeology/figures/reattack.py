"""Without the heads that carry an attack, attacked anew: is a model safer, or does the attack take another way?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.core.names import plural
from archaeology.figures._robustness import (
    Attacked,
    Ends,
    Subject,
    attack_text,
    ends_of,
    part_of,
    plain_float,
    subjects_of,
)
from archaeology.figures._robustness_ink import WIDTH, draw_whiskers, write
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, p_value
from archaeology.robustness.sureness import sure_side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.05
ASKED = {  # what of the document, and how it is called
    "clean": "as they are",
    "old_images": "changed against the whole model",
    "robust": "attacked anew",
}
MODELS = {"whole": "the whole model", "without": "without the carriers", "others": "without other heads"}
NAME_WIDTH, ROW, BLOCK, TOP = 2.05, 0.15, 0.56, 0.5


@dataclass(frozen=True)
class Asked:
    """One row of the question: what share of the images each model is right about, in percent.

    Attributes:
        name: Key of `ASKED`.
        shares: Of each of `MODELS`.
        gain: Without the carriers less whole, in points.
        beyond: Without the carriers less without others, in points.
        p_whole: Corrected p-value of `gain`.
        p_others: Of `beyond`.
        others_as_high: Of the draws of others, how many leave as much as taking the carriers out.
    """

    name: str
    shares: Mapping[str, Ends]
    gain: Ends
    beyond: Ends
    p_whole: float
    p_others: float
    others_as_high: int


@dataclass(frozen=True)
class ModelReattack:
    """One transformer.

    Attributes:
        subject: The model.
        attack: In words.
        heads: Layer and head of the carriers taken out, from 0.
        draws: How often as many others were.
        n: Images.
        asked: Rows by name.
    """

    subject: Subject
    attack: str
    heads: tuple[tuple[int, int], ...]
    draws: int
    n: int
    asked: Mapping[str, Asked]

    @property
    def side(self) -> int:
        """1 where the model surely withstands more without its carriers, -1 where less, else 0."""
        robust = self.asked["robust"]
        return sure_side(robust.gain.low, robust.gain.high, self.n) * int(robust.p_whole < LEVEL)

    @property
    def is_special(self) -> bool:
        """Whether that is surely more, or less, than taking as many other heads out does."""
        robust = self.asked["robust"]
        beyond = sure_side(robust.beyond.low, robust.beyond.high, self.n)
        return beyond != 0 and beyond == self.side and robust.p_others < LEVEL


@dataclass(frozen=True)
class Reattacked:
    """All transformers of the survey."""

    models: tuple[ModelReattack, ...]


def compute(source: Attacked) -> Reattacked | None:
    """Second attacks of the document; None where there were none."""
    found = part_of(source, "reattack")
    if not found:
        return None
    subjects = subjects_of(source.robustness or {}, found)
    return Reattacked(tuple(_model(subjects[name], one) for name, one in found.items()))


def _model(subject: Subject, found: Mapping[str, Any]) -> ModelReattack:
    rows = {str(row["what"]): row for row in found["table"]}
    return ModelReattack(
        subject=subject,
        attack=attack_text(str(found["attack"])),
        heads=tuple((int(layer), int(head)) for layer, head in found["heads"]),
        draws=len(found["others"]),
        n=int(found["n"]),
        asked={name: _asked(name, rows[name]) for name in ASKED},
    )


def _asked(name: str, row: Mapping[str, Any]) -> Asked:
    return Asked(
        name,
        {model: ends_of(row, model).in_percent for model in MODELS},
        ends_of(row, "without_minus_whole").in_percent,
        ends_of(row, "without_minus_others").in_percent,
        plain_float(row["p_whole_corrected"]),
        plain_float(row["p_others_corrected"]),
        int(row["others_as_high"]),
    )


def headline(data: Reattacked) -> str:
    """Whether each model is surely safer without its carriers, and whether that is owed to these heads."""
    return " ".join(_said(model) for model in data.models)


def _said(model: ModelReattack) -> str:
    robust = model.asked["robust"]
    heads, of = plural(len(model.heads), "head"), plural(model.n, "image")
    numbers = (
        f"{robust.shares['without'].bare(1)} % of {of} withstand instead of {robust.shares['whole'].bare(1)} % "
        f"(difference {robust.gain.bare(1)} points, 95 % interval {robust.gain.range(1)})"
    )
    name = model.subject.title
    if not model.side:
        begin = f"Without the {heads} that carry most of the attack, {name} is not surely safer"
        return f"{begin}: attacked anew, {numbers}."
    more = "more" if model.side > 0 else "less"
    than_others = (
        f", surely {more} than without as many others"
        if model.is_special
        else ", but taking as many others out does not surely differ"
    )
    return (
        f"Without the {heads} that carry most of the attack, {name} surely withstands {more}: attacked anew, "
        f"{numbers}{than_others} ({robust.beyond.bare(1)} points, {robust.beyond.range(1)})."
    )


def draw(data: Reattacked) -> "Figure":
    """For each model three questions down; in each the whole model, without carriers, without others."""
    tall = BLOCK * len(ASKED)
    with themed("reattack"):
        figure = new_figure(WIDTH, len(data.models) * (TOP + tall + 0.42) + 0.02)
        top = 0.0
        for model in data.models:
            colour = model.subject.colour
            write(figure, 0.1, top + 0.05, model.subject.title, colour=colour, size=9.0, is_bold=True)
            key = f"filled: {MODELS['whole']}, open: {MODELS['without']}, grey: {MODELS['others']}"
            write(figure, 0.1, top + 0.25, key, colour="muted", size=7.5)
            axes = place(figure, NAME_WIDTH, top + TOP, WIDTH - NAME_WIDTH - 0.15, tall)
            _draw_model(axes, model)
            top += TOP + tall + 0.42
    return figure


def _draw_model(axes: "Axes", model: ModelReattack) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(BLOCK * len(ASKED) - BLOCK / 2, -BLOCK / 2)
    inks = {"whole": model.subject.colour, "without": model.subject.colour, "others": "muted"}
    for at, asked in enumerate(model.asked.values()):
        for place_of, (name, ends) in enumerate(asked.shares.items()):
            row = np.array([BLOCK * at + ROW * (place_of - 1)])
            draw_whiskers(axes, row, np.array([[ends.value], [ends.low], [ends.high]]), inks[name])
            edge = COLOURS[inks[name]]
            fill = COLOURS["paper"] if name == "without" else edge
            if np.isfinite(ends.value):
                dots(axes, np.array([ends.value]), row, size=4.2, fill=fill, edge=edge, edge_width=1.1)
    axes.set_yticks([BLOCK * at for at in range(len(ASKED))], list(ASKED.values()))
    axes.grid(axis="x")
    bare(axes)
    axes.set_xlabel("images still right (%)", labelpad=2)


def table(data: Reattacked) -> DataTable:
    """One row for each model and question: the three shares, the gain, its p-value, the gain beyond other heads."""
    rows = []
    for model in data.models:
        for asked in model.asked.values():
            rows.append(
                (
                    f"{model.subject.title}: {ASKED[asked.name]}",
                    *(asked.shares[name].text(1) for name in MODELS),
                    asked.gain.text(1),
                    _p(asked.p_whole),
                    asked.beyond.text(1),
                    _p(asked.p_others),
                )
            )
    names = (f"{name[:1].upper()}{name[1:]} (%)" for name in MODELS.values())
    columns = ("Images", *names, "Gain (points)", "p, corrected", "Beyond others (points)", "p, corrected")
    return DataTable(columns, tuple(rows))


def _p(value: float) -> str:
    return p_value(value).removeprefix("= ") if np.isfinite(value) else NOT_KNOWN


reattack = figures.register("reattack")(
    Drawing(
        name="reattack",
        title="Is it safer without the heads that carry the attack?",
        explanation="The heads that rescued most images are taken out for good, and somebody who knows what is left "
        "attacks again. If as many images fall as before, the attack has found another way; withstanding the old "
        "changed images is no safety.",
        definition="An eighth of the heads, chosen on other images (see which heads carry the attack), say what they "
        "say of these images on average. Beside them: as many other heads, drawn several times, averaged over draws. "
        "Intervals at 95 % leave room for images nobody saw (Gaffke), differences are paired. Surely: the interval "
        "excludes zero and p, corrected for all six questions asked of a model (Holm), lies below "
        f"{LEVEL:g}; McNemar's test against the whole model, sign flips against other heads.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
