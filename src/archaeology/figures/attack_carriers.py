"""Which heads carry an attack: how many images come back when one head says what it said before the attack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from archaeology.core.names import plural
from archaeology.figures._robustness import (
    Attacked,
    Subject,
    ends_of,
    part_of,
    plain_float,
    stacked,
    subjects_of,
)
from archaeology.figures._robustness_ink import WIDTH, draw_whiskers, write
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed, p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN, LISTED = 10, 20  # heads of each model in the figure and in the table
LEVEL = 0.05
NAME_WIDTH, COLUMN, GAP, ROW, TOP = 1.15, 1.75, 0.25, 0.19, 0.46


@dataclass(frozen=True)
class ModelCarriers:
    """Heads of one model, the one that rescues most first.

    Attributes:
        subject: The model.
        places: Layer and head, counted from 0.
        rescued: Percent of images that are right again, with Wilson's interval.
        recovered: Percent of the lost margin that comes back.
        p_corrected: That the head brings nothing back.
        helps: Where that is below the level and the head brings something back.
        replacement: What the head says instead: "clean" or "mean".
        n: Images.
    """

    subject: Subject
    places: tuple[tuple[int, int], ...]
    rescued: Float[np.ndarray, "end head"]
    recovered: Float[np.ndarray, "end head"]
    p_corrected: Float[np.ndarray, " head"]
    helps: Bool[np.ndarray, " head"]
    replacement: str
    n: int


@dataclass(frozen=True)
class AttackCarriers:
    """All transformers of the survey."""

    models: tuple[ModelCarriers, ...]


def compute(source: Attacked) -> AttackCarriers | None:
    """Heads of the document; None where none were restored."""
    found = part_of(source, "carriers")
    if not found:
        return None
    subjects = subjects_of(source.robustness or {}, found)
    models = tuple(_model(subjects[name], _table_of(one)) for name, one in found.items())
    return AttackCarriers(models)


def _table_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The carriers themselves; a survey may keep them beside a second attack without them."""
    return found if "heads" in found and "replacement" in found else found["carriers"]


def _model(subject: Subject, found: Mapping[str, Any]) -> ModelCarriers:
    rows = sorted(
        found["heads"], key=lambda row: (-plain_float(row["rescued"]), -plain_float(row["recovered"]))
    )
    p = np.array([plain_float(row["p_corrected"]) for row in rows])
    recovered = 100 * stacked([ends_of(row, "recovered") for row in rows])
    return ModelCarriers(
        subject=subject,
        places=tuple((int(row["layer"]), int(row["head"])) for row in rows),
        rescued=100 * stacked([ends_of(row, "rescued") for row in rows]),
        recovered=recovered,
        p_corrected=p,
        helps=(p < LEVEL) & (recovered[0] > 0),
        replacement=str(found["replacement"]),
        n=int(found["n"]),
    )


def headline(data: AttackCarriers) -> str:
    """Which head rescues most images alone, and how many surely bring something back."""
    return " ".join(_said(model) for model in data.models)


def _said(model: ModelCarriers) -> str:
    name, helping, of = model.subject.title, int(model.helps.sum()), plural(model.n, "image")
    heads = plural(len(model.places), "head")
    if not helping:
        return f"In {name} no single head surely brings anything of the lost margin back ({heads}, {of})."
    best = int(np.flatnonzero(model.helps)[0])
    layer, head = model.places[best]
    value, low, high = (fixed(float(end), 1) for end in model.rescued[:, best])
    return (
        f"In {name}, putting head {head + 1} of layer {layer + 1} right rescues {value} % of {of} (95 % interval {low} "
        f"to {high}), the most of heads that surely help: {count(helping)} of {heads}, corrected for all."
    )


def draw(data: AttackCarriers) -> "Figure":
    """The strongest heads of each model down; images rescued on the left, margin that comes back on the right."""
    talls = [ROW * min(DRAWN, len(model.places)) for model in data.models]
    with themed("attack_carriers"):
        figure = new_figure(WIDTH, sum(talls) + len(talls) * (TOP + 0.42) + 0.02)
        top = 0.0
        for model, tall in zip(data.models, talls, strict=True):
            write(
                figure,
                0.1,
                top + 0.05,
                model.subject.title,
                colour=model.subject.colour,
                size=9.0,
                is_bold=True,
            )
            write(figure, 0.1, top + 0.25, "filled: surely helps", colour="muted", size=7.5)
            left = place(figure, NAME_WIDTH, top + TOP, COLUMN, tall)
            right = place(figure, NAME_WIDTH + COLUMN + GAP, top + TOP, COLUMN, tall)
            _column(left, model, model.rescued, "images rescued (%)")
            _column(right, model, model.recovered, "lost margin back (%)")
            kept = model.places[:DRAWN]
            names = [f"layer {layer + 1}, head {head + 1}" for layer, head in kept]
            left.set_yticks(range(len(kept)), names)
            left.set_xlim(0, None)
            top += TOP + tall + 0.42
    return figure


def _column(axes: "Axes", model: ModelCarriers, ends: Float[np.ndarray, "end head"], unit: str) -> None:
    shown, helps = ends[:, :DRAWN], model.helps[:DRAWN]
    rows = np.arange(shown.shape[1], dtype=float)
    axes.axvline(0, color=COLOURS["muted"], linewidth=1, clip_on=False)
    draw_whiskers(axes, rows, shown, model.subject.colour)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(round_ticks(4))
    axes.grid(axis="x")
    bare(axes)
    axes.set_xlabel(unit, labelpad=2)
    colour = COLOURS[model.subject.colour]
    for chosen, fill in ((helps, colour), (~helps, COLOURS["paper"])):
        known = chosen & np.isfinite(shown[0])
        dots(axes, shown[0][known], rows[known], size=4.2, fill=fill, edge=colour, edge_width=1.1)


def table(data: AttackCarriers) -> DataTable:
    """The strongest heads of each model: images rescued, margin that comes back, the corrected p-value."""
    rows = []
    for model in data.models:
        for at, (layer, head) in enumerate(model.places[:LISTED]):
            p = float(model.p_corrected[at])
            rows.append(
                (
                    f"{model.subject.title}: layer {layer + 1}, head {head + 1}",
                    _span(model.rescued, at),
                    _span(model.recovered, at),
                    p_value(p).removeprefix("= ") if np.isfinite(p) else NOT_KNOWN,
                )
            )
    return DataTable(("Head", "Images rescued (%)", "Margin back (%)", "p, corrected"), tuple(rows))


def _span(ends: Float[np.ndarray, "end head"], at: int) -> str:
    value, low, high = (fixed(float(end), 1) for end in ends[:, at])
    return NOT_KNOWN if value == NOT_KNOWN else f"{value} ({low} to {high})"


attack_carriers = figures.register("attack_carriers")(
    Drawing(
        name="attack_carriers",
        title="Which heads carry the attack?",
        explanation="One head at a time is given back what it said before the attack, all others stay fooled. If the "
        "model is right again, that head carried the attack.",
        definition="Images that the attack turned. Rescued: share that is right again with this one head restored, "
        "Wilson's 95 % interval. Margin: logit of the right class less the largest other; what share of its fall comes "
        "back, a ratio of sums over images, bootstrapped. A head surely helps where a sign-flip test of the margin, "
        f"corrected over all heads (Holm), has p below {LEVEL:g} and the margin grows. The first {DRAWN} heads are "
        f"drawn, the first {LISTED} are in the table, all in robustness.json.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
