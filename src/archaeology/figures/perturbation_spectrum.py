"""What adversarial changes are made of: how strong they are in coarse and in fine patterns, beside white noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.figures._robustness import Attacked, Ends, Subject, ends_of, part_of, stacked, subjects_of
from archaeology.figures._robustness_ink import WIDTH, draw_line, key_height, line_axes, write, write_key
from archaeology.figures._theme import COLOURS, new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import count, fixed, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SpectrumLine:
    """The changes made against one model.

    Attributes:
        subject: The model.
        density: How many times as strong as white noise of the same power, in each ring of frequencies.
        share: Percent of the power in each ring.
        n: Images that were changed.
    """

    subject: Subject
    density: Float[np.ndarray, "end ring"]
    share: Float[np.ndarray, "end ring"]
    n: int


@dataclass(frozen=True)
class PerturbationSpectrum:
    """All models on the same rings.

    Attributes:
        low: Inner radius of each ring, in percent of the finest frequency.
        high: Outer radius.
        white: Percent of the power of white noise in each ring.
        lines: One for each model.
    """

    low: Float[np.ndarray, " ring"]
    high: Float[np.ndarray, " ring"]
    white: Float[np.ndarray, " ring"]
    lines: tuple[SpectrumLine, ...]


def compute(source: Attacked) -> PerturbationSpectrum | None:
    """Spectra of the document; None where there are none."""
    found = part_of(source, "spectrum")
    if not found:
        return None
    subjects = subjects_of(source.robustness or {}, found)
    rings = next(iter(found.values()))["rings"]
    return PerturbationSpectrum(
        low=100 * np.array([row["low"] for row in rings], dtype=float),
        high=100 * np.array([row["high"] for row in rings], dtype=float),
        white=100 * np.array([row["white"] for row in rings], dtype=float),
        lines=tuple(_line(subjects[name], one) for name, one in found.items()),
    )


def _line(subject: Subject, found: Mapping[str, Any]) -> SpectrumLine:
    white = np.array([row["white"] for row in found["rings"]], dtype=float)
    share = stacked([ends_of(row, "share") for row in found["rings"]])
    return SpectrumLine(subject, share / white, 100 * share, int(found["n"]))


def headline(data: PerturbationSpectrum) -> str:
    """Where each model's changes are strongest, and whether they surely exceed white noise there."""
    return " ".join(_said(data, line) for line in data.lines)


def _said(data: PerturbationSpectrum, line: SpectrumLine) -> str:
    at = int(np.argmax(line.density[0]))
    value, low, high = (fixed(float(end), 1) for end in line.density[:, at])
    of = f"95 % interval {low} to {high}, {count(line.n)} images"
    if line.density[1, at] <= 1:
        return (
            f"Changes against {line.subject.title} are nowhere surely stronger than white noise ({value} times at "
            f"most, {of})."
        )
    return (
        f"Changes against {line.subject.title} are strongest at {_ring(data, at)} of the finest frequency: {value} "
        f"times as strong as white noise ({of})."
    )


def _ring(data: PerturbationSpectrum, at: int) -> str:
    low, high = fixed(float(data.low[at]), 0), fixed(float(data.high[at]), 0)
    return f"more than {low} %" if data.high[at] > 100 else f"{low} to {high} %"


def draw(data: PerturbationSpectrum) -> "Figure":
    """A line with its band for each model against frequency; white noise is the level of 1."""
    subjects = [line.subject for line in data.lines]
    top = key_height(subjects)
    with themed("perturbation_spectrum"):
        figure = new_figure(WIDTH, top + 0.2 + 1.8 + 0.42)
        write_key(figure, subjects)
        axes = line_axes(figure, (0.5, top + 0.2, 4.4, 1.8), "Strength of the change (times white noise)")
        along = (data.low + np.minimum(data.high, 100)) / 2
        for line in data.lines:
            draw_line(axes, along, line.density, line.subject.colour)
        axes.axhline(1, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(0, 100)
        axes.set_ylim(0, None)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_xlabel("frequency (% of the finest): coarse patterns left, fine ones right", labelpad=2)
        write(figure, 4.9, top, "dashed: white noise", colour="muted", size=7.5, side="right")
    return figure


def table(data: PerturbationSpectrum) -> DataTable:
    """One row for each ring: percent of the power with its interval for each model, and in white noise."""
    rows = [
        (
            _ring(data, at),
            *(Ends(*(float(end) for end in line.share[:, at])).text(1) for line in data.lines),
            percent(float(data.white[at]) / 100),
        )
        for at in range(len(data.low))
    ]
    columns = (
        "Frequency",
        *(f"Against {line.subject.title} (% of power)" for line in data.lines),
        "White noise",
    )
    return DataTable(columns, tuple(rows))


perturbation_spectrum = figures.register("perturbation_spectrum")(
    Drawing(
        name="perturbation_spectrum",
        title="What are the attacks made of?",
        explanation="White noise is as strong in coarse as in fine patterns. Where a line rises above it, the attack "
        "found that patterns of this size move the model most.",
        definition="Share of the power of the change (adversarial less original, images that the attack turned) in "
        "rings of frequencies, over the share that white noise has there; mean over images with a 95 % bootstrap "
        "interval. 100 % is one cycle in two pixels; the last ring reaches beyond it, into the corners of the plane.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
