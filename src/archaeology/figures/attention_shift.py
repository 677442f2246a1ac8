"""What an attack does to attention, layer by layer, beside noise of the same size: where the paths part."""

from collections.abc import Mapping, Sequence
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
    interval_of,
    part_of,
    stacked,
    subjects_of,
)
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_line,
    line_axes,
    panel_places,
    panels_height,
    write,
)
from archaeology.figures._theme import COLOURS, new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, fixed, number, p_value, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {  # drawn, with what each is called
    "shift": "How far attention moves",
    "stream": "How far the layer's output moves",
}
UNITS = {"shift": "divergence (nats)", "stream": "share of the length"}
FACTOR = 2  # times the noise's movement, from which on paths are said to part


@dataclass(frozen=True)
class ShiftPanel:
    """One measure of every layer of one model.

    Attributes:
        measure: "shift" or "stream".
        layers: That have it, counted from 0.
        attack: Under attack.
        noise: Under noise of the same size.
        ratio: Attack over noise.
        p_corrected: That both are the same.
        parting: First layer where the attack surely moves more than `FACTOR` times what noise does, or None.
    """

    measure: str
    layers: tuple[int, ...]
    attack: Float[np.ndarray, "end layer"]
    noise: Float[np.ndarray, "end layer"]
    ratio: Float[np.ndarray, "end layer"]
    p_corrected: Float[np.ndarray, " layer"]
    parting: int | None


@dataclass(frozen=True)
class ModelShift:
    """One transformer.

    Attributes:
        subject: The model.
        panels: One for each measure it has.
        attack_changed: Percent of images that get another answer under attack.
        noise_changed: Likewise under noise.
        n: Images.
    """

    subject: Subject
    panels: tuple[ShiftPanel, ...]
    attack_changed: Ends
    noise_changed: Ends
    n: int


@dataclass(frozen=True)
class AttentionShifts:
    """All transformers of the survey."""

    models: tuple[ModelShift, ...]


def compute(source: Attacked) -> AttentionShifts | None:
    """Movements of the document; None where attention was not looked at."""
    found = part_of(source, "attention")
    if not found:
        return None
    subjects = subjects_of(source.robustness or {}, found)
    return AttentionShifts(tuple(_model(subjects[name], one) for name, one in found.items()))


def _model(subject: Subject, found: Mapping[str, Any]) -> ModelShift:
    panels = []
    for measure in MEASURES:
        rows = sorted(
            (row for row in found["layers"] if row["measure"] == measure), key=lambda row: row["layer"]
        )
        if rows:
            panels.append(_panel(measure, rows, (found.get("parting_twice") or {}).get(measure)))
    attack, noise = (interval_of(found.get(f"{name}_changed")).in_percent for name in ("attack", "noise"))
    return ModelShift(subject, tuple(panels), attack, noise, int(found["n"]))


def _panel(measure: str, rows: Sequence[Mapping[str, Any]], parting: int | None) -> ShiftPanel:
    return ShiftPanel(
        measure=measure,
        layers=tuple(int(row["layer"]) for row in rows),
        attack=stacked([ends_of(row, "attack") for row in rows]),
        noise=stacked([ends_of(row, "noise") for row in rows]),
        ratio=stacked([ends_of(row, "ratio") for row in rows]),
        p_corrected=np.array([np.nan if row["p_corrected"] is None else row["p_corrected"] for row in rows]),
        parting=parting,
    )


def headline(data: AttentionShifts) -> str:
    """From which layer on, if any, the attack surely moves attention more than twice as far as noise does."""
    return " ".join(_said(model) for model in data.models)


def _said(model: ModelShift) -> str:
    name, of = model.subject.title, plural(model.n, "image")
    found = next((panel for panel in model.panels if panel.measure == "shift"), None)
    if found is None:
        return f"In {name} the movement of attention is not defined ({of})."
    if found.parting is None:
        return (
            f"In {name} no layer's attention surely moves more than {FACTOR} times as far under attack as under noise "
            f"of the same size ({of})."
        )
    at = found.layers.index(found.parting)
    value, low, high = (fixed(float(end), 1) for end in found.ratio[:, at])
    return (
        f"In {name} the paths part at layer {found.parting + 1} of {len(found.layers)}: there the attack first surely "
        f"moves attention more than {FACTOR} times as far as noise of the same size does ({value} times, 95 % interval "
        f"{low} to {high}, {of})."
    )


def draw(data: AttentionShifts) -> "Figure":
    """A row for each model: attention on the left, the stream on the right; attack full, noise dashed."""
    tall, above, below, name = 1.35, 0.46, 0.42, 0.2
    step = name + panels_height(1, 1, tall, above, below)
    with themed("attention_shift"):
        figure = new_figure(WIDTH, 0.3 + step * len(data.models))
        write(figure, 0.1, 0.05, "full line: attack", size=8.5)
        write(figure, 1.35, 0.05, "dashed: noise of the same size", colour="muted", size=8.5)
        write(figure, 3.6, 0.05, "upright: paths part", colour="wrong", size=8.5)
        for row, model in enumerate(data.models):
            top = 0.3 + row * step
            write(figure, 0.1, top, model.subject.title, colour=model.subject.colour, size=9.0, is_bold=True)
            boxes = panel_places(len(model.panels), 2, top + name, tall, above, below)
            for panel, box in zip(model.panels, boxes, strict=True):
                axes = line_axes(figure, box, MEASURES[panel.measure], UNITS[panel.measure])
                _draw_panel(axes, panel, model.subject.colour)
    return figure


def _draw_panel(axes: "Axes", panel: ShiftPanel, colour: str) -> None:
    along = np.array(panel.layers, dtype=float)
    draw_line(axes, along, panel.noise, "muted", is_dashed=True)
    draw_line(axes, along, panel.attack, colour)
    if panel.parting is not None:
        axes.axvline(panel.parting, color=COLOURS["wrong"], linewidth=1.2, linestyle=(0, (1, 1.5)))
    axes.set_xlim(float(along[0]), float(along[-1]) if len(along) > 1 else float(along[0]) + 1)
    axes.set_ylim(0, None)
    step = 1 if len(along) <= 16 else 2
    axes.set_xticks(along[::step], [str(layer + 1) for layer in panel.layers[::step]])
    axes.set_xlabel("layer", labelpad=1)


def table(data: AttentionShifts) -> DataTable:
    """One row for each model, measure and layer; then how often answers changed."""
    rows = []
    for model in data.models:
        for panel in model.panels:
            for at, layer in enumerate(panel.layers):
                p = float(panel.p_corrected[at])
                mark = ", paths part" if layer == panel.parting else ""
                rows.append(
                    (
                        f"{model.subject.title}, {MEASURES[panel.measure].lower()}, layer {layer + 1}{mark}",
                        _span(panel.attack, at),
                        _span(panel.noise, at),
                        _span(panel.ratio, at),
                        p_value(p).removeprefix("= ") if np.isfinite(p) else NOT_KNOWN,
                    )
                )
        changed = (_share(one) for one in (model.attack_changed, model.noise_changed))
        rows.append((f"{model.subject.title}, images with another answer", *changed, "", ""))
    return DataTable(("Where", "Attack", "Noise of the same size", "Times", "p, corrected"), tuple(rows))


def _share(changed: Ends) -> str:
    return f"{percent(changed.value / 100)} ({changed.range(1)})" if changed.is_known else NOT_KNOWN


def _span(values: Float[np.ndarray, "end layer"], at: int) -> str:
    value, low, high = (number(float(end), 2) for end in values[:, at])
    return NOT_KNOWN if value == NOT_KNOWN else f"{value} ({low} to {high})"


attention_shift = figures.register("attention_shift")(
    Drawing(
        name="attention_shift",
        title="Where does an attack part from noise?",
        explanation="The attack and the noise change every image by the same amount. As long as both lines lie "
        "together, the layers have seen nothing special; where the attack leaves the noise, it has taken hold.",
        definition="Images that the attack turned. Attention: Jensen-Shannon divergence of each query's weights before "
        "and after, mean over queries and heads, nats, at most 0.69. Output: length of the change of the block's "
        "output over its length. Noise: of the same norms, image by image. Bands: 95 % intervals, bootstrapped over "
        "images. p of a sign-flip test, corrected over layers (Holm). Paths part at the first layer where the attack "
        f"moves more than {FACTOR} times what noise does, tested in the same way.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
