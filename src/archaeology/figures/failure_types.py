"""Do the two models fail on the same images? How often each fails, against what independent ones would do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._theme import COLOURS, bare, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import count, number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTCOMES = ("Both right", "Only the ViT wrong", "Only the CNN wrong", "Both wrong")


@dataclass(frozen=True)
class FailureTypes:
    """How many images fall into each outcome, and how many would if the models erred independently.

    Attributes:
        observed: Both right, only the ViT wrong, only the CNN wrong, both wrong.
        expected: The same under independence with the same accuracies.
        both_same: Images on which both are wrong with the same answer.
        both_different: Images on which both are wrong with different answers.
        odds_ratio: Odds that the ViT fails where the CNN fails, over those where it does not.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: All images.
    """

    observed: Int[np.ndarray, " outcome"]
    expected: Float[np.ndarray, " outcome"]
    both_same: int
    both_different: int
    odds_ratio: float
    low: float
    high: float
    n: int


def compute(run: RunDirectory) -> FailureTypes | None:
    """Counts of results.json with the expectation from the two accuracies; None without labels."""
    found = run.results.get("failures")
    if not found:
        return None
    both_wrong = found["both-same"] + found["both-different"]
    observed = np.array([found["none"], found["vit-only"], found["cnn-only"], both_wrong])
    n = int(observed.sum())
    vit_wrong, cnn_wrong = (observed[1] + both_wrong) / n, (observed[2] + both_wrong) / n
    expected = n * np.outer([1 - vit_wrong, vit_wrong], [1 - cnn_wrong, cnn_wrong])
    dependence = found["independence"]
    return FailureTypes(
        observed=observed,
        expected=expected[[0, 1, 0, 1], [0, 0, 1, 1]],
        both_same=found["both-same"],
        both_different=found["both-different"],
        odds_ratio=_or_nan(dependence["odds_ratio"]),
        low=_or_nan(dependence["low"]),
        high=_or_nan(dependence["high"]),
        n=n,
    )


def _or_nan(value: float | int | None) -> float:
    return float("nan") if value is None else float(value)


def headline(data: FailureTypes) -> str:
    """How many images fool both, against chance."""
    both_wrong = int(data.observed[3])
    fooled = (
        f"Both models fail on {count(both_wrong)} of {plural(data.n, 'image')} "
        f"({percent(both_wrong / data.n)}); were their errors independent, it would be "
        f"about {count(round(data.expected[3]))}"
    )
    if not np.isfinite([data.odds_ratio, data.low, data.high]).all():
        return fooled + "."
    value, low, high = (number(end, 2) for end in (data.odds_ratio, data.low, data.high))
    odds = f"odds ratio {value}, 95 % interval {low} to {high}"
    if data.low > 1:
        return f"{fooled}: what is hard for one is hard for the other ({odds})."
    if data.high < 1:
        return f"{fooled}: they fail on different images more than chance would have it ({odds})."
    return f"{fooled}: no dependence can be told ({odds})."


def draw(data: FailureTypes) -> "Figure":
    """A bar for each outcome, a mark where independent errors would put its end."""
    with themed("failure_types"):
        figure = new_figure(5.02, 2.1)
        axes = place(figure, 1.45, 0.05, 3.1, 1.55)
        rows = np.arange(4)
        colours = ["line", "vit", "cnn", "ink"]
        axes.barh(rows, data.observed, height=0.56, color=[COLOURS[name] for name in colours])
        axes.barh(3, data.both_same, height=0.56, color=COLOURS["muted"])
        for row, (seen, chance) in enumerate(
            zip(data.observed.tolist(), data.expected.tolist(), strict=True)
        ):
            axes.plot([chance, chance], [row - 0.4, row + 0.4], color=COLOURS["ink"], linewidth=1.6)
            said = count(seen) + (f" ({count(data.both_same)} with the same answer)" if row == 3 else "")
            axes.annotate(said, (max(seen, chance), row), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(rows, OUTCOMES)
        axes.tick_params(axis="y", labelsize=8.5, labelcolor=COLOURS["ink"])
        axes.invert_yaxis()
        axes.set_xlim(0, None)
        axes.xaxis.set_major_locator(round_ticks(4))
        bare(axes)
        axes.grid(axis="x")
        axes.set_xlabel("images (upright mark: if errors were independent)")
    return figure


def table(data: FailureTypes) -> DataTable:
    """Observed and expected counts, both wrong also split by whether the answers agree."""
    rows = [
        (name, count(seen), percent(seen / data.n), f"{chance:,.1f}")
        for name, seen, chance in zip(OUTCOMES, data.observed.tolist(), data.expected.tolist(), strict=True)
    ]
    rows += [
        (f"of these with {answers}", count(part), percent(part / data.n), "")
        for answers, part in (("the same answer", data.both_same), ("different answers", data.both_different))
    ]
    return DataTable(("Outcome", "Images", "Share", "If independent"), tuple(rows))


failure_types = figures.register("failure_types")(
    Drawing(
        name="failure_types",
        title="Do they fail on the same images?",
        explanation="If two models learn the same shortcuts, the same images fool both; if they learn "
        "different things, their errors are as unrelated as two dice.",
        definition="Expected under independence: product of the two error rates. The odds ratio compares "
        "the odds of a ViT error on images the CNN gets wrong with those on images it gets right; 1 means "
        "independent.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
