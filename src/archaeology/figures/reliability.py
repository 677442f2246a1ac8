"""Is each model right as often as it says? Share named right against confidence, bin by bin, with what chance makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from archaeology.figures._dissection import NAMES, Apart, images_word, parts_of
from archaeology.figures._robustness import Ends, interval_of, plain_float
from archaeology.figures._robustness_ink import WIDTH, write
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, GAP, LEFT, TOP = 1.95, 0.5, 0.5, 0.55


@dataclass(frozen=True)
class Reliability:
    """One model, all in percent.

    Attributes:
        role: Key of `NAMES`.
        confidence: Mean of each bin that has images.
        accuracy: Share named right in it.
        low: Lower ends of its intervals.
        high: Upper ends.
        images: In each bin.
        ece: Expected calibration error.
        debiased: Without most of what chance adds.
        by_chance: The most that chance makes of it, at 95 %.
        overconfidence: Confidence less accuracy, in points.
        temperature: That mends the other half of the images best; NaN where none was found.
        ece_before: Error on that half.
        ece_after: The same after dividing by the temperature.
        n: Images.
    """

    role: str
    confidence: Float[np.ndarray, " bin"]
    accuracy: Float[np.ndarray, " bin"]
    low: Float[np.ndarray, " bin"]
    high: Float[np.ndarray, " bin"]
    images: Int[np.ndarray, " bin"]
    ece: float
    debiased: Ends
    by_chance: float
    overconfidence: Ends
    temperature: float
    ece_before: float
    ece_after: float
    n: int


@dataclass(frozen=True)
class Reliabilities:
    """Both models."""

    models: tuple[Reliability, ...]


def compute(source: Apart) -> Reliabilities | None:
    """Calibration of the document; None where there is none."""
    found = {role: one for role, one in parts_of(source, "calibration").items() if "bins" in one}
    return Reliabilities(tuple(_model(role, one) for role, one in found.items())) if found else None


def _model(role: str, found: Mapping[str, Any]) -> Reliability:
    bins = [one for one in found["bins"] if one["n"]]
    cooled = found["temperature"]
    return Reliability(
        role=role,
        confidence=np.array([100 * one["confidence"] for one in bins]),
        **{
            name: np.array([100 * one["accuracy"][end] for one in bins])
            for name, end in (("accuracy", "value"), ("low", "low"), ("high", "high"))
        },
        images=np.array([one["n"] for one in bins]),
        ece=100 * found["ece"],
        debiased=interval_of(found["debiased"]).in_percent,
        by_chance=100 * found["chance"]["high"],
        overconfidence=interval_of(found["overconfidence"]).in_percent,
        temperature=plain_float(cooled.get("value")),
        ece_before=100 * plain_float(cooled.get("ece_before")),
        ece_after=100 * plain_float(cooled.get("ece_after")),
        n=int(found["n"]),
    )


def headline(data: Reliabilities) -> str:
    """How far confidence and accuracy part, and whether chance makes as much of it."""
    return " ".join(_said(one) for one in data.models)


def _said(one: Reliability) -> str:
    name, n = NAMES[one.role], images_word(one.n)
    error = f"its calibration error is {fixed(one.ece, 1)} % on {n}"
    chance = f"chance alone makes up to {fixed(one.by_chance, 1)} %"
    if one.ece <= one.by_chance:
        return f"The {name} is not shown to be sure too often or too seldom: {error}, and {chance}."
    side = one.overconfidence.side
    begin = {
        1: f"The {name} is surer than it is right",
        -1: f"The {name} is right more often than it is sure",
        0: f"The {name} is too sure of some answers and not sure enough of others",
    }[side]
    numbers = f"{fixed(abs(one.overconfidence.value), 1)} points, 95 % interval {_turned(one.overconfidence)}"
    return f"{begin} ({numbers}): {error}, where {chance}."


def _turned(ends: Ends) -> str:
    return ends.turned(1 if ends.value >= 0 else -1).range(1)


def draw(data: Reliabilities) -> "Figure":
    """A square for each model: on the slope confidence is accuracy, above it the model is not sure enough."""
    with themed("reliability"):
        figure = new_figure(WIDTH, TOP + SIDE + 0.45)
        for at, one in enumerate(data.models):
            left = LEFT + at * (SIDE + GAP)
            write(figure, left, 0.05, NAMES[one.role], colour=one.role, size=9.0, is_bold=True)
            error = f"error {fixed(one.ece, 1)} %, by chance up to {fixed(one.by_chance, 1)} %"
            write(figure, left, 0.25, error, colour="muted", size=7.5)
            axes = place(figure, left, TOP, SIDE, SIDE)
            axes.set_xlim(0, 100)
            axes.set_ylim(0, 100)
            axes.plot([0, 100], [0, 100], color=COLOURS["muted"], linewidth=1, linestyle=(0, (3, 2)))
            places = one.confidence
            axes.plot(
                np.stack([places, places, np.full_like(places, np.nan)], axis=1).ravel(),
                np.stack([one.low, one.high, np.full_like(places, np.nan)], axis=1).ravel(),
                color=COLOURS[one.role],
                linewidth=1.4,
                clip_on=False,
            )
            dots(axes, places, one.accuracy, size=4.4, fill=COLOURS[one.role])
            axes.set_xticks([0, 25, 50, 75, 100])
            axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100"] if at == 0 else [""] * 5)
            axes.grid(True)
            bare(axes)
            axes.set_xlabel("mean confidence (%)", labelpad=2)
            if at == 0:
                axes.set_ylabel("images right (%)", labelpad=2)
    return figure


def table(data: Reliabilities) -> DataTable:
    """One row for each bin of each model with images, then what is read off all of them."""
    rows: list[tuple[str, ...]] = []
    for one in data.models:
        name = NAMES[one.role]
        for at, images in enumerate(one.images.tolist()):
            right = Ends(float(one.accuracy[at]), float(one.low[at]), float(one.high[at]))
            rows.append((f"{name}: bin", count(images), fixed(float(one.confidence[at]), 1), right.text(1)))
        rows.append((f"{name}: error", count(one.n), f"{fixed(one.ece, 1)} (ECE)", one.debiased.text(1)))
        cooled = NOT_KNOWN
        if np.isfinite(one.temperature):
            cooled = f"{fixed(one.ece_before, 1)} to {fixed(one.ece_after, 1)} (other half)"
        rows.append((f"{name}: temperature", count(one.n), fixed(one.temperature, 2), cooled))
    return DataTable(("Model", "Images", "Mean confidence (%)", "Right, or error (%)"), tuple(rows))


reliability = figures.register("reliability")(
    Drawing(
        name="reliability",
        title="Is it right as often as it says?",
        explanation="Of answers given with a probability of 80 %, eight of ten should be right. Dots below the dashed "
        "slope are answers given too surely, dots above it answers that could have been given more surely.",
        definition="Answers in 15 bins of equal width by the softmax probability of the class named; uprights are "
        "Wilson's intervals at 95 %. The calibration error (ECE) is the mean distance of confidence and share right "
        "over images; by chance: what a model that is right as often as it says would have with the same confidences, "
        "in 95 % of draws. In the table also the error without most of what chance adds, with its interval, and the "
        "temperature fitted on half of the images, with the error on the other half before and after dividing by it.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
