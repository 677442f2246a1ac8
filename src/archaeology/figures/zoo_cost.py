"""Time and memory of every attention mechanism against length: dense attention wins while sequences are short."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.attention import mechanisms
from archaeology.core.intervals import Interval
from archaeology.figures._labels import (
    RELATION_COLOURS,
    Label,
    label_beside,
    write_above,
    write_key,
    write_verdict,
)
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, zoo_figures
from archaeology.figures.words import NOT_KNOWN, count, fixed, number
from archaeology.zoo.directory import ZooRun
from archaeology.zoo.fit import CLEARLY_FASTER, Crossover
from archaeology.zoo.subject import DENSE, STEPS
from archaeology.zoo.summary import LEAST_MEBIBYTES, Cost, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEP = STEPS[1]  # forward and backward, a step of training
WIDTH = 11.2  # inches
SHORT = 512  # tokens, where dense attention is hard to beat
CROSSING: dict[str, Any] = {
    "marker": "o",
    "markersize": 6,
    "markerfacecolor": COLOURS["paper"],
    "markeredgecolor": COLOURS["ink"],
    "zorder": 5,
}


@dataclass(frozen=True)
class Curve:
    """One quantity of one mechanism: medians over the rounds, and the power of length that fits them."""

    name: str
    relation: str
    lengths: list[int]
    medians: list[float]
    exponent: Interval | None


@dataclass(frozen=True)
class Costs:
    """Everything drawn.

    Attributes:
        milliseconds: Time of forward and backward.
        mebibytes: Memory that they need beyond their inputs.
        crossovers: Where each mechanism begins to beat dense attention.
        crossings: Length and milliseconds of the points where their lines cross.
        verdict: Where dense attention wins, in a sentence.
        rounds: How often each was timed.
        setting: Heads, sizes, precision and threads, in words.
    """

    milliseconds: list[Curve]
    mebibytes: list[Curve]
    crossovers: dict[str, Crossover]
    crossings: list[tuple[float, float]]
    verdict: str
    rounds: int
    setting: str


def compute(run: ZooRun) -> Costs | None:
    """The costs of forward and backward together; None if nothing was timed."""
    times = [_curve(cost, 1e3) for cost in _of(run.summary, "seconds")]
    memory = [_curve(cost, 1.0) for cost in _of(run.summary, "mebibytes")]
    if not times:
        return None
    passed = {name: steps[STEP] for name, steps in run.summary.crossovers.items() if STEP in steps}
    config = run.config
    return Costs(
        milliseconds=times,
        mebibytes=[curve for curve in memory if curve.lengths],
        crossovers=passed,
        crossings=crossings(next(curve for curve in times if curve.name == DENSE), passed),
        verdict=verdict(times, passed),
        rounds=min(cost.rounds for cost in _of(run.summary, "seconds")),
        setting=f"{config.heads} heads of {config.head_dim}, {config.dtype}, 1 example, {config.threads} CPU "
        f"thread{'s' * (config.threads > 1)}, {config.clock} time",
    )


def _of(summary: Summary, quantity: str) -> list[Cost]:
    return [cost for cost in summary.costs if cost.quantity == quantity and cost.step == STEP]


def _curve(cost: Cost, factor: float) -> Curve:
    least = LEAST_MEBIBYTES if cost.quantity == "mebibytes" else 0.0
    kept = [
        (length, middle) for length, middle in zip(cost.lengths, cost.medians, strict=True) if middle > least
    ]
    return Curve(
        name=cost.mechanism,
        relation=mechanisms.get(cost.mechanism).facts.relation,
        lengths=[length for length, _ in kept],
        medians=[factor * middle for _, middle in kept],
        exponent=cost.exponent,
    )


def crossings(dense: Curve, passed: dict[str, Crossover]) -> list[tuple[float, float]]:
    """The points on the line of dense attention from where on another is faster, shortest first."""
    lengths = sorted(
        found.length for found in passed.values() if found.length is not None and not found.is_always
    )
    heights = np.exp(np.interp(np.log(lengths), np.log(dense.lengths), np.log(dense.medians)))
    return [(length, float(height)) for length, height in zip(lengths, heights, strict=True)]


def verdict(times: list[Curve], crossovers: dict[str, Crossover]) -> str:
    """What beats dense attention at about 512 tokens, where it is strong, and at the longest length."""
    if not crossovers:
        return "Only dense attention was timed."
    by_name = {curve.name: dict(zip(curve.lengths, curve.medians, strict=True)) for curve in times}
    lengths = [length for length in by_name[DENSE] if _leads(by_name, length)]
    short, long = min(lengths, key=lambda length: abs(np.log(length / SHORT))), max(lengths)
    said = f"At {count(short)} tokens {_who(_leads(by_name, short))} clearly faster than dense attention"
    if short == long:
        return f"{said}."
    leads = _leads(by_name, long)
    best = max(leads, key=lambda name: leads[name])
    faster = sum(lead >= CLEARLY_FASTER for lead in leads.values())
    of_them = f" of {len(leads)} timed there" if len(leads) < len(_leads(by_name, short)) else ""
    if not faster:
        return f"{said}, and at {count(long)} none{of_them} is."
    return f"{said}; at {count(long)}, {faster}{of_them}, most of all {best}, {number(leads[best], 2)} times as fast."


def _leads(by_name: dict[str, dict[int, float]], length: int) -> dict[str, float]:
    """How many times as fast as dense attention each is."""
    dense = by_name[DENSE]
    return {
        name: dense[length] / found[length]
        for name, found in by_name.items()
        if name != DENSE and length in found and length in dense
    }


def _who(leads: dict[str, float]) -> str:
    faster = [name for name, lead in leads.items() if lead >= CLEARLY_FASTER]
    if len(faster) == 1:
        return f"only {faster[0]} is" if len(leads) > 1 else f"{faster[0]} is"
    mechanisms_in_all = f"{len(leads)} mechanism{'s' * (len(leads) > 1)}"
    return f"{len(faster) or 'none'} of {mechanisms_in_all} {'are' if faster else 'is'}"


def when(passed: Crossover | None) -> str:
    """From where on a mechanism wins, in a few words."""
    if passed is None:
        return ""
    if passed.length is None:
        return "never faster"
    return "faster throughout" if passed.is_always else f"faster from {count(_rounded(passed.length))}"


def _rounded(length: float) -> int:
    """Two digits: more would pretend."""
    return int(float(f"{length:.2g}"))


def headline(data: Costs) -> str:
    """Where dense attention wins."""
    return data.verdict


def draw(data: Costs) -> "Figure":
    """Two panels with logarithmic scales, names beside the lines."""
    height = max(3.4, 0.16 * len(data.milliseconds) + 0.4)
    with themed("zoo_cost"):
        figure = new_figure(WIDTH, height + 1.95)
        write_verdict(figure, data.verdict)
        write_above(figure, 0.56, f"{data.setting}; medians of {data.rounds} rounds", colour="muted")
        write_key(figure, 0.77, {curve.relation for curve in data.milliseconds})
        left, right = place(figure, 0.65, 1.25, 3.2, height), place(figure, 7.1, 1.25, 2.6, height)
        _panel(left, data.milliseconds, "time of forward and backward (ms)")
        for length, milliseconds in data.crossings:
            left.plot([length], [milliseconds], **CROSSING)
        label_beside(
            left, [_label(curve, when(data.crossovers.get(curve.name))) for curve in data.milliseconds]
        )
        if data.mebibytes:
            _panel(right, data.mebibytes, "memory beyond the inputs (MiB)")
            label_beside(right, [_label(curve, "") for curve in data.mebibytes])
        else:
            right.set_axis_off()
            right.text(0, 0.5, "memory was not measured:\nthis system keeps no high-water mark")
    return figure


def _panel(axes: "Axes", curves: list[Curve], quantity: str) -> None:
    for curve in sorted(curves, key=lambda curve: curve.name == DENSE):
        is_dense = curve.name == DENSE
        axes.plot(
            curve.lengths,
            curve.medians,
            color=COLOURS[RELATION_COLOURS[curve.relation]],
            linewidth=2.6 if is_dense else 1.1,
            marker="o",
            markersize=4 if is_dense else 2.2,
        )
    lengths = sorted({length for curve in curves for length in curve.lengths})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(
        lengths, [count(length) for length in lengths], rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 1))
    axes.grid()
    axes.set_xlabel("tokens")
    axes.set_title(quantity, loc="left", fontsize=9, color=COLOURS["ink"])


def _label(curve: Curve, note: str) -> Label:
    is_dense = curve.name == DENSE
    return Label(
        text=f"{curve.name} (dense)" if is_dense else curve.name,
        x=float(curve.lengths[-1]),
        y=curve.medians[-1],
        colour=RELATION_COLOURS[curve.relation],
        note=note,
        is_bold=is_dense,
    )


def power(found: Interval | None) -> str:
    """An exponent with its interval, like 1.02 (0.95 to 1.09)."""
    if found is None:
        return NOT_KNOWN
    return f"{fixed(found.value, 2)} ({fixed(found.low, 2)} to {fixed(found.high, 2)})"


def table(data: Costs) -> DataTable:
    """Exponents with intervals, and costs at the longest length."""
    memory = {curve.name: curve for curve in data.mebibytes}
    rows = []
    for curve in data.milliseconds:
        kept = memory.get(curve.name)
        rows.append(
            (
                curve.name,
                power(curve.exponent),
                str(curve.exponent.n) if curve.exponent else NOT_KNOWN,
                f"{number(curve.medians[-1])} at {count(curve.lengths[-1])}",
                when(data.crossovers.get(curve.name)) or "the yardstick",
                power(kept.exponent) if kept else NOT_KNOWN,
                f"{number(kept.medians[-1])} at {count(kept.lengths[-1])}" if kept else NOT_KNOWN,
            )
        )
    columns = (
        "Mechanism",
        "Time grows as N to the (95 % interval)",
        "Lengths",
        "Time (ms)",
        "Against dense",
        "Memory grows as N to the",
        "Memory (MiB)",
    )
    return DataTable(columns, tuple(rows))


zoo_cost = zoo_figures.register("zoo_cost")(
    Drawing(
        name="zoo_cost",
        title="What does each kind of attention cost?",
        explanation="Both scales are logarithmic, so cost that grows as a power of length is a straight line; dense "
        "attention rises steeply, yet at short lengths hardly anything lies below it. Circles: where lines cross it.",
        definition="Forward and backward of all heads, without projections, median over the rounds, all mechanisms in "
        "turn in one process. Memory is how far the resident set rises above its level with the inputs in place, in "
        f"another process; less than {LEAST_MEBIBYTES:g} MiB is not shown. A mechanism is faster where it is at least "
        f"{CLEARLY_FASTER:g} times as fast, at all longer lengths too. Exponents are slopes of least-squares lines, "
        "with Student's 95 % interval over lengths.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
