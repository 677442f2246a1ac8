"""How many heads can go? Accuracy while heads are removed one after another, in a chosen order and at random."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._theme import COLOURS, bare, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, Wording, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 1.0  # points of accuracy that may go before heads are said to be missed
RANDOM = "random"
ORDER_COLOURS = {"greedy": "vit", "lazy greedy": "vit", "single effects": "cnn", RANDOM: "muted"}
MOST_ROWS = 9
ORDERS = (
    "Greedy: at every step the head goes whose removal leaves the lowest loss, given those already gone (lazy greedy: "
    "with fewer trials). Single effects: in the order of what each head costs alone. Random: mean of several orders, "
    "its band from the lowest to the highest end of their intervals. Dashed: one point below the whole model."
)


@dataclass(frozen=True)
class PruningLine:
    """One order of removal; several random ones are one line, their mean.

    Attributes:
        name: "greedy", "lazy greedy", "single effects" or "random".
        removed: Heads gone at each step.
        value: Accuracy in percent.
        low: Lower end of its 95 % interval; of several orders the lowest.
        high: Upper end; of several orders the highest.
        num_orders: How many orders it stands for.
        can_go: Heads that go before the accuracy is more than `TOLERANCE` points below that of the whole model.
        mean: Accuracy averaged over all steps, with its interval; NaN where it is not known.
    """

    name: str
    removed: Int[np.ndarray, " step"]
    value: Float[np.ndarray, " step"]
    low: Float[np.ndarray, " step"]
    high: Float[np.ndarray, " step"]
    num_orders: int
    can_go: int
    mean: tuple[float, float, float]


@dataclass(frozen=True)
class Pruning:
    """All orders on the same images.

    Attributes:
        lines: The chosen order first.
        num_heads: Heads of the model, as far as they were removed.
        n: Images measured on.
        num_chosen_on: Other images, on which orders were chosen; 0 if not known.
        replacement: What a removed head says.
        has_truth: Whether labels say what is right; if not, accuracy is the share of answers that stay as they were.
    """

    lines: tuple[PruningLine, ...]
    num_heads: int
    n: int
    num_chosen_on: int
    replacement: str
    has_truth: bool


def compute(run: RunDirectory) -> Pruning | None:
    """Curves of pruning.parquet; None where heads were not pruned."""
    found = run.pruning
    if found is None or found.num_rows == 0:
        return None
    facts: dict[str, Any] = run.results.get("pruning") or {}
    orders: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in found.to_pylist():
        orders.setdefault(re.sub(r" \d+$", "", row["order"]), {}).setdefault(row["order"], []).append(row)
    lines = tuple(_line(name, parts, facts.get("mean_accuracies") or {}) for name, parts in orders.items())
    return Pruning(
        lines=lines,
        num_heads=int(max(line.removed.max() for line in lines)),
        n=int(max(found.column("n").to_pylist())),
        num_chosen_on=int(facts.get("num_chosen_on") or 0),
        replacement=str(facts.get("replacement") or ""),
        has_truth=run.has_truth,
    )


def _line(name: str, parts: dict[str, list[dict[str, Any]]], means: dict[str, Any]) -> PruningLine:
    def column(key: str) -> Float[np.ndarray, "order step"]:
        return 100 * np.array([[row[key] for row in rows] for rows in parts.values()], dtype=float)

    value = column("accuracy").mean(axis=0)
    known = [means[part] for part in parts if part in means]
    mean = [
        100 * float(np.mean([one[end] for one in known])) if known else float("nan")
        for end in ("value", "low", "high")
    ]
    removed = np.array([row["removed"] for row in next(iter(parts.values()))])
    return PruningLine(
        name=name,
        removed=removed,
        value=value,
        low=column("accuracy_low").min(axis=0),
        high=column("accuracy_high").max(axis=0),
        num_orders=len(parts),
        can_go=int(removed[can_go(value)]),
        mean=(mean[0], mean[1], mean[2]),
    )


def can_go(accuracy: Float[np.ndarray, " step"]) -> int:
    """The last step up to which no step lies more than `TOLERANCE` points below the first."""
    missed = np.flatnonzero(accuracy < accuracy[0] - TOLERANCE - 1e-9)
    return int(missed[0]) - 1 if len(missed) else len(accuracy) - 1


def headline(data: Pruning) -> str:
    """How many heads go in each order before one point of accuracy, or one answer in a hundred, is gone."""
    first, *rest = data.lines
    others = [f"{count(line.can_go)} {_in_order(line)}" for line in rest]
    beside = f"; {' and '.join(others)}" if others else ""
    return (
        f"{count(first.can_go)} of {plural(data.num_heads, 'head')} can go {_in_order(first)} before {_missed(data)}"
        f"{beside} ({_images(data)})."
    )


def _missed(data: Pruning) -> str:
    if data.has_truth:
        return f"accuracy lies more than {TOLERANCE:g} point below the whole model's"
    return f"the answer changes on more than {TOLERANCE:g} % of the images"


def _in_order(line: PruningLine) -> str:
    if line.name == RANDOM:
        return "in random order" if line.num_orders == 1 else f"in random order (mean of {line.num_orders})"
    return {"single effects": "in the order of what each costs alone"}.get(
        line.name, f"in the {line.name} order"
    )


def _images(data: Pruning) -> str:
    measured = f"measured on {plural(data.n, 'image')}"
    return f"{measured}, chosen on {count(data.num_chosen_on)} others" if data.num_chosen_on else measured


def draw(data: Pruning) -> "Figure":
    """A line for each order with its band; where it leaves the tolerance, a dot."""
    with themed("pruning"):
        figure = new_figure(5.02, 3.1)
        axes = place(figure, 0.5, 0.36, 4.4, 2.25)
        whole = float(data.lines[0].value[0])
        axes.axhline(whole - TOLERANCE, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
        for line in reversed(data.lines):
            colour = COLOURS[ORDER_COLOURS.get(line.name, "ink")]
            axes.fill_between(
                line.removed, line.low, line.high, color=colour, alpha=0.16, linewidth=0, clip_on=False
            )
            axes.plot(line.removed, line.value, color=colour, linewidth=1.6, clip_on=False)
            at = int(np.flatnonzero(line.removed == line.can_go)[0])
            axes.plot([line.can_go], [line.value[at]], "o", color=colour, markersize=4.5, clip_on=False)
        axes.set_xlim(0, data.num_heads)
        axes.set_ylim(0, 100 if whole > 85 else None)
        axes.xaxis.set_major_locator(round_ticks(5))
        axes.yaxis.set_major_locator(round_ticks(5))
        axes.grid(axis="y")
        bare(axes)
        axes.set_xlabel("heads removed")
        axes.set_ylabel("images right (%)" if data.has_truth else "answers unchanged (%)")
        _write_key(figure, data)
    return figure


def _write_key(figure: "Figure", data: Pruning) -> None:
    """The orders in their colours, above: at the right end all lines meet."""
    width, height = figure.get_size_inches()
    left = 0.5
    for line in data.lines:
        words = f"\N{BLACK CIRCLE} {line.name}" + (
            f", mean of {line.num_orders}" if line.num_orders > 1 else ""
        )
        figure.text(left / width, 1 - 0.2 / height, words, color=COLOURS[ORDER_COLOURS.get(line.name, "ink")])
        left += 0.3 + 0.068 * len(words)


def table(data: Pruning) -> DataTable:
    """Accuracy with interval at a dozen numbers of removed heads, then the mean over all steps."""
    steps = data.lines[0].removed
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(MOST_ROWS, len(steps))).round().astype(int))
    rows = [(count(int(steps[at])), *(_span(line, at) for line in data.lines)) for at in chosen.tolist()]
    rows.append(("Mean of all steps", *(_mean(line) for line in data.lines)))
    return DataTable(("Heads removed", *(f"{line.name} (%)" for line in data.lines)), tuple(rows))


def _span(line: PruningLine, at: int) -> str:
    if at >= len(line.value):
        return NOT_KNOWN
    return f"{fixed(float(line.value[at]), 1)} ({fixed(float(line.low[at]), 1)} to {fixed(float(line.high[at]), 1)})"


def _mean(line: PruningLine) -> str:
    value, low, high = (fixed(end, 1) for end in line.mean)
    return value if value == NOT_KNOWN or line.num_orders > 1 else f"{value} ({low} to {high})"


pruning = figures.register("pruning")(
    Drawing(
        name="pruning",
        title="How many heads can go?",
        explanation="Heads are taken out one after another and stay out. A chosen order keeps the accuracy for long if "
        "many heads repeat what others do; the random orders show what taking any would cost.",
        definition=f"Accuracy with Wilson's 95 % interval on images that no order was chosen on. {ORDERS}",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
        own_answers=Wording(
            explanation="Heads are taken out one after another and stay out. A chosen order keeps the answers for long "
            "if many heads repeat what others do; the random orders show what taking any would cost.",
            definition="Share of images whose answer is the whole model's (there are no labels), with Wilson's 95 % "
            f"interval, on images that no order was chosen on. {ORDERS}",
        ),
    )
)
