"""Where each model is worse than elsewhere: slices found on one half of the images, tested on the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archaeology.core.names import plural
from archaeology.figures._dissection import NAMES, Apart, class_name, parts_of
from archaeology.figures._robustness import Ends, interval_of
from archaeology.figures._robustness_ink import WIDTH, draw_whiskers, write
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import count, p_value, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME_WIDTH, ROW, ABOVE, BELOW = 2.2, 0.24, 0.5, 0.42
LONGEST = 26


@dataclass(frozen=True)
class OneSlice:
    """A slice.

    Attributes:
        label: The class that most of its images have.
        label_share: Which share of them.
        mistaken_for: Its most frequent wrong answer; "" without one.
        attributes: What its images differ in, in words.
        accuracy: On the half that it is tested on, in percent.
        rest: Of all others there.
        gap: In points.
        p_corrected: Among the model's slices.
        is_claimed: Whether it is worse within classes after correction over the slices.
        n: Images tested.
    """

    label: str
    label_share: float
    mistaken_for: str
    attributes: tuple[str, ...]
    accuracy: Ends
    rest: Ends
    gap: Ends
    p_corrected: float
    is_claimed: bool
    n: int


@dataclass(frozen=True)
class ModelSlices:
    """Slices of one model, the worst first; or why there are none."""

    role: str
    slices: tuple[OneSlice, ...]
    num_tested_on: int
    reason: str


@dataclass(frozen=True)
class Slices:
    """Both models."""

    models: tuple[ModelSlices, ...]


def compute(source: Apart) -> Slices | None:
    """Slices of the document; None where no model has any."""
    found = parts_of(source, "slices")
    models = tuple(
        ModelSlices(
            role,
            tuple(_slice(source, row) for row in one["slices"]),
            int(one["num_tested_on"]),
            str(one["reason"]),
        )
        for role, one in found.items()
    )
    return Slices(models) if any(one.slices for one in models) else None


def _slice(source: Apart, row: Mapping[str, Any]) -> OneSlice:
    return OneSlice(
        label=class_name(source, row["label"]),
        label_share=float(row["label_share"]),
        mistaken_for=class_name(source, row["answer"]),
        attributes=tuple(str(one["words"]) for one in row["attributes"]),
        accuracy=interval_of(row["accuracy"]).in_percent,
        rest=interval_of(row["rest"]).in_percent,
        gap=interval_of(row["gap"]).in_percent,
        p_corrected=float(row["p_corrected"]),
        is_claimed=bool(row["is_claimed"]),
        n=int(row["n"]),
    )


def headline(data: Slices) -> str:
    """How many slices of each model are worse after correction over slices, and the worst of them."""
    return " ".join(_said(one) for one in data.models)


def _said(model: ModelSlices) -> str:
    name = NAMES[model.role]
    if not model.slices:
        return f"No slice of the {name}: {model.reason}."
    claimed = [one for one in model.slices if one.is_claimed]
    asked = f"{plural(len(model.slices), 'slice')} tested on {plural(model.num_tested_on, 'image')}"
    if not claimed:
        return (
            f"No slice of the {name} is shown to be worse within its classes ({asked}, corrected over these)."
        )
    worst = claimed[0]
    return (
        f"The {name} is worse than elsewhere on {len(claimed)} of {asked}; on the surest of them, mostly "
        f"{worst.label}, it is right on {worst.accuracy.bare(1)} % of {plural(worst.n, 'image')}, elsewhere on "
        f"{worst.rest.bare(1)} % (difference {worst.gap.bare(1)} points, 95 % interval {worst.gap.range(1)}). "
        "Corrected over these slices, not over all that the run asked."
    )


def draw(data: Slices) -> "Figure":
    """A row for each slice: its share right as a dot with its interval, filled where surely worse; rest as a mark."""
    shown = [one for one in data.models if one.slices]
    tall = [ROW * len(one.slices) for one in shown]
    with themed("slices"):
        figure = new_figure(WIDTH, sum(tall) + len(shown) * (ABOVE + BELOW))
        top = 0.0
        for model, height in zip(shown, tall, strict=True):
            write(figure, 0.1, top + 0.05, NAMES[model.role], colour=model.role, size=9.0, is_bold=True)
            key = "filled: worse within classes, corrected over these slices; upright: all other images"
            write(figure, 0.1, top + 0.25, key, colour="muted", size=7.5)
            axes = place(figure, NAME_WIDTH, top + ABOVE, WIDTH - NAME_WIDTH - 0.15, height)
            axes.set_xlim(0, 100)
            axes.set_ylim(len(model.slices) - 0.5, -0.5)
            colour = COLOURS[model.role]
            for at, one in enumerate(model.slices):
                ends = np.array([[one.accuracy.value], [one.accuracy.low], [one.accuracy.high]])
                draw_whiskers(axes, np.array([float(at)]), ends, model.role)
                fill = colour if one.is_claimed else COLOURS["paper"]
                middle = np.array([one.accuracy.value])
                dots(axes, middle, np.array([float(at)]), size=4.6, fill=fill, edge=colour, edge_width=1.1)
                axes.plot([one.rest.value] * 2, [at - 0.32, at + 0.32], color=COLOURS["ink"], linewidth=1.4)
            names = [
                _short(f"{one.label} ({percent(one.label_share, 0)}), n = {one.n}") for one in model.slices
            ]
            axes.set_yticks(range(len(model.slices)), names)
            axes.grid(axis="x")
            bare(axes)
            axes.set_xlabel("images right (%)", labelpad=2)
            top += ABOVE + height + BELOW
    return figure


def _short(text: str) -> str:
    return text if len(text) <= LONGEST + 6 else f"{text[: LONGEST - 8]}\N{HORIZONTAL ELLIPSIS}{text[-13:]}"


def table(data: Slices) -> DataTable:
    """One row for each slice: what it is of, shares right in and outside of it, their difference and its p-value."""
    rows = [
        (
            f"{NAMES[model.role]}: mostly {one.label} ({percent(one.label_share, 0)})",
            "; ".join(one.attributes) or "no attribute differs",
            one.mistaken_for or "none",
            count(one.n),
            one.accuracy.text(1),
            one.rest.text(1),
            one.gap.text(1),
            p_value(one.p_corrected).removeprefix("= "),
        )
        for model in data.models
        for one in model.slices
    ]
    columns = (
        "Slice",
        "Its images are",
        "Wrong answer",
        "Images",
        "Right (%)",
        "Rest (%)",
        "Gap (points)",
        "p, corrected",
    )
    return DataTable(columns, tuple(rows))


slices = figures.register("slices")(
    Drawing(
        name="slices",
        title="Is there a kind of image that it fails on?",
        explanation="Images that differ alike from their classes, as another model sees them, are put together without "
        "asking anybody what to look for. A group only counts where other images of its kind fail more often, too.",
        definition="A mixture after Domino over features (the other model's last block, less the mean of each image's "
        "class, reduced to ten directions) and how probable the true class was, fitted on one half of the images; the "
        "other half is sorted into its slices by features alone, since a slice told by its answers would be wrong by "
        "construction. Shares right with Wilson's "
        "intervals, differences with Newcombe's, at 95 %; Fisher's exact test within classes, corrected over the "
        "model's slices (Holm). Attributes by Mann and Whitney's test, corrected over slices and attributes.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
