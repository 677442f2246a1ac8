"""Which model is right more often, and how sure that is: accuracies and their difference with intervals."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.dig.verdict import is_told
from archaeology.figures._theme import COLOURS, bare, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import count, fixed, p_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"vit": "ViT", "cnn": "CNN"}


@dataclass(frozen=True)
class Percentage:
    """A percentage, or a difference of two in points, with its interval."""

    value: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True)
class Accuracies:
    """Both accuracies and the lead of the better model, in percent and points.

    Attributes:
        vit: Accuracy of the ViT.
        cnn: Accuracy of the CNN.
        lead: Of the model that is right more often.
        leader: Which that is.
        p_value: Of McNemar's exact test.
        is_clear: Whether interval and test both tell the lead from chance.
    """

    vit: Percentage
    cnn: Percentage
    lead: Percentage
    leader: str
    p_value: float
    is_clear: bool

    @property
    def follower(self) -> str:
        """The model that is right less often."""
        return "cnn" if self.leader == "vit" else "vit"


def percentage(found: dict, sign: int = 1) -> Percentage:
    """An interval of results.json in percent; `sign=-1` turns a difference around."""
    low, high = sorted((100.0 * sign * found["low"], 100.0 * sign * found["high"]))
    return Percentage(100.0 * sign * found["value"], low, high, found["n"], found["method"])


def compute(run: RunDirectory) -> Accuracies | None:
    """The accuracies, with the difference turned so that it is the leader's; None without labels.

    Raises:
        ValueError: If the difference is not the ViT's accuracy less the CNN's.
    """
    found = run.results.get("accuracy")
    if found is None:
        return None
    vit, cnn, difference = (found[name]["value"] for name in ("vit", "cnn", "difference"))
    if abs(vit - cnn - difference) > 1e-6:
        raise ValueError(
            f"accuracy.difference in results.json must be the ViT's less the CNN's, {vit - cnn:.4f}, "
            f"but is {difference:.4f}; dig again."
        )
    leader = "vit" if vit >= cnn else "cnn"
    lead = percentage(found["difference"], 1 if leader == "vit" else -1)
    test = run.results["mcnemar"]
    return Accuracies(
        vit=percentage(found["vit"]),
        cnn=percentage(found["cnn"]),
        lead=lead,
        leader=leader,
        p_value=float(test["p_value"]),
        is_clear=is_told(found["difference"], test),
    )


def headline(data: Accuracies) -> str:
    """Who leads, and whether it can be told from chance."""
    span = f"{fixed(data.lead.low, 1)} to {fixed(data.lead.high, 1)}"
    if data.is_clear:
        return (
            f"The {NAMES[data.leader]} leads by {fixed(data.lead.value, 1)} points; the 95 % interval, "
            f"{span}, excludes zero."
        )
    lead = fixed(data.lead.value, 1)
    told = f"No difference can be told: the 95 % interval of {lead} points, {span}, "
    if data.lead.low > 0:
        exact = f"McNemar's exact test, p {p_value(data.p_value)}"
        return f"{told}excludes zero, but {exact}, does not tell it from chance."
    return f"{told}includes zero."


def draw(data: Accuracies) -> "Figure":
    """Two accuracies on one scale, their difference beside them against zero."""
    with themed("accuracy"):
        figure = new_figure(5.02, 1.8)
        left = place(figure, 0.45, 0.1, 2.5, 1.2)
        for row, (name, part) in enumerate((("vit", data.vit), ("cnn", data.cnn))):
            _whisker(left, part, float(row), COLOURS[name])
            left.text(part.value, row - 0.16, f"{fixed(part.value, 1)} %", ha="center", va="bottom")
        _rows(left, ["ViT", "CNN"], 4)
        left.set_xlabel("images right (%)")
        left.margins(x=0.12)
        right = place(figure, 3.3, 0.1, 1.6, 1.2)
        right.axvline(0, color=COLOURS["muted"], linewidth=1)
        _whisker(right, data.lead, 0.5, COLOURS["ink"])
        right.text(data.lead.value, 0.5 - 0.16, fixed(data.lead.value, 1), ha="center", va="bottom")
        _rows(right, [], 3)
        right.margins(x=0.12)
        right.set_xlabel(f"{NAMES[data.leader]} less {NAMES[data.follower]} (points)")
    return figure


def _whisker(axes: "Axes", part: Percentage, row: float, colour: str) -> None:
    axes.plot([part.low, part.high], [row, row], color=colour, linewidth=2, solid_capstyle="round")
    axes.plot([part.value], [row], "o", color=colour, markersize=6)


def _rows(axes: "Axes", names: list[str], most_ticks: int) -> None:
    axes.set_ylim(1.5, -0.75)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=9, labelcolor=COLOURS["ink"])
    axes.xaxis.set_major_locator(round_ticks(most_ticks))
    axes.grid(axis="x")
    bare(axes)


def table(data: Accuracies) -> DataTable:
    """Value, interval, number of images and method."""
    lead = f"{NAMES[data.leader]} less {NAMES[data.follower]} (points)"
    named = (("ViT (%)", data.vit), ("CNN (%)", data.cnn), (lead, data.lead))
    rows = [
        (
            name,
            fixed(part.value, 1),
            f"{fixed(part.low, 1)} to {fixed(part.high, 1)}",
            count(part.n),
            part.method,
        )
        for name, part in named
    ]
    return DataTable(("Quantity", "Value", "95 % interval", "Images", "Method"), tuple(rows))


accuracy = figures.register("accuracy")(
    Drawing(
        name="accuracy",
        title="Which model is right more often?",
        explanation="The dot is what was measured, the line is where the truth plausibly lies; a difference "
        "whose line crosses zero may be chance.",
        definition="Share of images whose most probable class is the label. Intervals: Wilson's for each "
        "share, a paired bootstrap over the same images for the difference, which is called a lead only where "
        "McNemar's exact test has p below 0.05 as well.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
