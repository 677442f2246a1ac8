"""Does the ViT look elsewhere where it fails? Its attention on failures less that on successes of the same classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.core.names import plural
from archaeology.failures.attention import QUANTITIES
from archaeology.figures._dissection import Apart
from archaeology.figures._robustness import Ends, interval_of
from archaeology.figures._robustness_ink import WIDTH, draw_line, line_axes, write
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import number, p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.05
NAME_WIDTH, ROW = 2.55, 0.27
PANELS = {"entropy": "entropy (nats)", "distance": "distance (pixels)"}
SHORT = {
    "entropy": "entropy of the readout, last layer",
    "distance": "distance of attention, last layer",
    "object_mass": "attention on the object, last layer",
    "rollout_mass": "rollout on the object",
}


@dataclass(frozen=True)
class Gap:
    """One quantity: failures less successes of the same classes.

    Attributes:
        name: Key of `QUANTITIES`.
        layer: From 0; None for the last one or for all.
        failures: Mean.
        successes: Mean, weighted like the failures.
        gap: Difference, in the quantity's unit.
        relative: The same over the mean of the successes, in percent.
        p: By dealing out failures anew; of layers, corrected among them.
        num_failures: Compared.
        num_successes: Compared.
    """

    name: str
    layer: int | None
    failures: float
    successes: float
    gap: Ends
    relative: Ends
    p: float
    num_failures: int
    num_successes: int

    @property
    def is_sure(self) -> bool:
        """Whether it is more than chance, before other questions of the run are counted."""
        return self.gap.side != 0 and self.p < LEVEL


@dataclass(frozen=True)
class FailureAttention:
    """All quantities, and layer by layer."""

    gaps: tuple[Gap, ...]
    by_layer: tuple[Gap, ...]


def compute(source: Apart) -> FailureAttention | None:
    """The document's attention on failures; None where nothing could be compared."""
    found = (source.dissection or {}).get("attention") or {}
    gaps = tuple(_gap(row) for row in found.get("gaps") or ())
    return FailureAttention(gaps, tuple(_gap(row) for row in found["by_layer"])) if gaps else None


def _gap(row: Mapping[str, Any]) -> Gap:
    gap, base = interval_of(row["gap"]), abs(float(row["successes"]))
    scale = 100 / base if base > 0 else float("nan")
    return Gap(
        name=str(row["name"]),
        layer=None if row["layer"] is None else int(row["layer"]),
        failures=float(row["failures"]),
        successes=float(row["successes"]),
        gap=gap,
        relative=Ends(scale * gap.value, scale * gap.low, scale * gap.high),
        p=float(row["p_value"]),
        num_failures=int(row["num_failures"]),
        num_successes=int(row["num_successes"]),
    )


def headline(data: FailureAttention) -> str:
    """Which quantities differ by more than chance."""
    most = max(data.gaps, key=lambda gap: gap.num_failures)
    of = (
        f"{plural(most.num_failures, 'failure')} against {plural(most.num_successes, 'success', 'successes')}"
    )
    sure = [gap for gap in data.gaps if gap.is_sure]
    if not sure:
        return f"No difference can be told between {of} of the same classes (images of this run)."
    said = "; ".join(
        f"{QUANTITIES[gap.name][0]} is {number(gap.failures, 3)} instead of {number(gap.successes, 3)} "
        f"{QUANTITIES[gap.name][1]} (difference {number(gap.gap.value, 2)}, 95 % interval {number(gap.gap.low, 2)} to "
        f"{number(gap.gap.high, 2)})"
        for gap in sure
    )
    return f"Where the ViT fails, {said}: {of} of the same classes, before other questions of the run are counted."


def draw(data: FailureAttention) -> "Figure":
    """Differences relative to the successes as dots with intervals; below, entropy and distance layer by layer."""
    tall = ROW * len(data.gaps)
    panels = [name for name in PANELS if sum(gap.name == name for gap in data.by_layer) > 1]
    with themed("failure_attention"):
        figure = new_figure(WIDTH, 0.1 + tall + 0.5 + (1.95 if panels else 0))
        axes = place(figure, NAME_WIDTH, 0.1, WIDTH - NAME_WIDTH - 0.2, tall)
        axes.set_ylim(len(data.gaps) - 0.5, -0.5)
        ends = np.array([[gap.relative.low, gap.relative.high] for gap in data.gaps])
        reach = 1.1 * float(np.nanmax(np.abs(ends)))
        axes.set_xlim(-reach, reach)
        axes.axvline(0, color=COLOURS["muted"], linewidth=1)
        for at, gap in enumerate(data.gaps):
            colour = COLOURS["vit"]
            axes.plot([gap.relative.low, gap.relative.high], [at, at], color=colour, linewidth=1.6)
            fill = colour if gap.is_sure else COLOURS["paper"]
            spot = np.array([gap.relative.value])
            dots(axes, spot, np.array([float(at)]), size=4.6, fill=fill, edge=colour, edge_width=1.1)
        axes.set_yticks(range(len(data.gaps)), [SHORT[gap.name] for gap in data.gaps])
        axes.grid(axis="x")
        bare(axes)
        axes.set_xlabel("failures less successes (% of these)", labelpad=2)
        top = 0.1 + tall + 0.85
        wide = (WIDTH - 0.5 - 0.12 - 0.6) / 2
        for at, name in enumerate(panels):
            layers = [gap for gap in data.by_layer if gap.name == name]
            box = (0.5 + at * (wide + 0.6), top, wide, 1.05)
            panel = line_axes(figure, box, f"difference of {PANELS[name]}")
            x = np.array([float(gap.layer or 0) + 1 for gap in layers])
            values = np.array([[getattr(gap.gap, end) for gap in layers] for end in ("value", "low", "high")])
            draw_line(panel, x, values, "vit")
            panel.axhline(0, color=COLOURS["muted"], linewidth=1)
            panel.set_xticks(x[:: max(1, len(x) // 6)])
            panel.set_xlabel("layer", labelpad=2)
        if panels:
            write(figure, 0.1, top - 0.42, "Layer by layer", colour="muted", size=7.5)
    return figure


def table(data: FailureAttention) -> DataTable:
    """One row for each quantity, then for each layer."""
    rows = [
        (
            f"{QUANTITIES[gap.name][0]} ({QUANTITIES[gap.name][1]})"
            if gap.layer is None
            else f"{PANELS[gap.name]}, layer {gap.layer + 1}",
            number(gap.failures, 3),
            number(gap.successes, 3),
            f"{number(gap.gap.value, 2)} ({number(gap.gap.low, 2)} to {number(gap.gap.high, 2)})",
            p_value(gap.p).removeprefix("= "),
            f"{gap.num_failures:,} and {gap.num_successes:,}",
        )
        for gap in (*data.gaps, *data.by_layer)
    ]
    columns = ("Quantity", "Failures", "Successes", "Difference", "p", "Failures and successes (images)")
    return DataTable(columns, tuple(rows))


failure_attention = figures.register("failure_attention")(
    Drawing(
        name="failure_attention",
        title="Does the ViT look elsewhere where it fails?",
        explanation="If attention told failures from successes, it could warn. A difference says that the two go "
        "together, not that the model fails because it looks so.",
        definition="Mean over images, heads averaged. The readout is the class token, or all patches on average; "
        "entropy in nats over what it looks at, distance in pixels from patches to where they look, mass on the object "
        "over the object's share of the image (objects of half the image and more are left out). Failures are compared "
        "with successes of the same class: coefficient of failure beside a mean for each class; intervals at 95 % let "
        "both vary unequally (HC3); p by dealing out failures anew within classes; filled: interval without zero and p "
        f"below {LEVEL:g}. The p-values of layers are corrected among them (Holm).",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
