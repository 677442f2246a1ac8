"""Do some patches stop speaking of their place? Norms of all patches, and the threshold where there are two groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._representation import Layered, layered_part
from archaeology.figures._robustness import Ends, Subject, ends_of, plain_float, subjects_of
from archaeology.figures._robustness_ink import WIDTH, line_axes, panel_places, panels_height
from archaeology.figures._theme import COLOURS, new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TALL, ABOVE, BELOW = 1.35, 0.44, 0.55


@dataclass(frozen=True)
class Norms:
    """One model.

    Attributes:
        subject: The model.
        layer: Module path.
        edges: Of the bins, in units of the features.
        counts: Patches in each bin, in percent.
        threshold: From which on a patch is an outlier; NaN where there are none.
        share: Of outliers among patches, in percent.
        median: Norm.
        front: Median norm of the tokens before the patches.
        valley: Lowest density between two peaks over that of the lower peak.
        num_patches: Of all images.
        n: Images.
    """

    subject: Subject
    layer: str
    edges: Float[np.ndarray, " edge"]
    counts: Float[np.ndarray, " bin"]
    threshold: float
    share: Ends
    median: float
    front: Mapping[str, float]
    valley: float
    num_patches: int
    n: int


@dataclass(frozen=True)
class TokenNorms:
    """All models with tokens."""

    models: tuple[Norms, ...]


def compute(source: Layered) -> TokenNorms | None:
    """Norms of the document; None where there are none."""
    found = (layered_part(source, "outliers") or {}).get("models")
    if not found:
        return None
    subjects = subjects_of(source.representation or {}, [one["specimen"] for one in found])
    return TokenNorms(tuple(_norms(one, subjects[one["specimen"]]) for one in found))


def _norms(found: Mapping[str, Any], subject: Subject) -> Norms:
    counts = np.array(found["counts"], dtype=float)
    return Norms(
        subject=subject,
        layer=str(found["layer"]),
        edges=np.array(found["edges"], dtype=float),
        counts=100 * counts / max(counts.sum(), 1.0),
        threshold=plain_float(found["threshold"]),
        share=ends_of(found, "share").in_percent,
        median=float(found["median"]),
        front={str(name): float(value) for name, value in found["front"].items()},
        valley=float(found["valley"]),
        num_patches=int(found["num_patches"]),
        n=int(found["n"]),
    )


def headline(data: TokenNorms) -> str:
    """Whether there are outliers, in each model."""
    return " ".join(_said(one) for one in data.models)


def _said(one: Norms) -> str:
    of = f"{plural(one.num_patches, 'patch', 'patches')} of {plural(one.n, 'image')}"
    if not np.isfinite(one.threshold):
        return (
            f"No patch of {one.subject.title} stands out: the norms of {of} have no valley between two peaks."
        )
    return (
        f"{fixed(one.share.value, 1)} % (95 % interval {one.share.range(1)}) of {of} stand out in {one.subject.title}, "
        f"with norms above {number(one.threshold, 3)} where the median is {number(one.median, 3)}."
    )


def draw(data: TokenNorms) -> "Figure":
    """A histogram for each model on a logarithmic axis; what is beyond the threshold in another colour."""
    many = len(data.models)
    with themed("token_norms"):
        figure = new_figure(WIDTH, 0.05 + panels_height(many, 1, TALL, ABOVE, BELOW))
        for one, box in zip(data.models, panel_places(many, 1, 0.05, TALL, ABOVE, BELOW), strict=True):
            known = np.isfinite(one.threshold)
            note = f"outliers above {number(one.threshold, 3)}" if known else "no outliers: one group only"
            of = f"{count(one.num_patches)} patches of {plural(one.n, 'image')}"
            _draw_norms(line_axes(figure, box, one.subject.title, f"{of}; {note}"), one)
    return figure


def _draw_norms(axes: "Axes", one: Norms) -> None:
    axes.set_xscale("log")
    points = [*one.edges, *one.front.values()]
    axes.set_xlim(min(points) / 1.08, max(points) * 1.08)
    axes.set_ylim(0, 1.18 * max(float(one.counts.max()), 1e-9))
    axes.stairs(one.counts, one.edges, fill=True, color=COLOURS[one.subject.colour], alpha=0.75, linewidth=0)
    if np.isfinite(one.threshold):
        beyond = one.edges[:-1] >= one.threshold
        axes.stairs(
            np.where(beyond, one.counts, 0.0), one.edges, fill=True, color=COLOURS["wrong"], linewidth=0
        )
        axes.axvline(one.threshold, color=COLOURS["wrong"], linewidth=1.2, linestyle=(0, (3, 2)))
    top = axes.get_ylim()[1]
    for name, value in one.front.items():
        axes.axvline(value, color=COLOURS["ink"], linewidth=1.0, linestyle=(0, (1, 2)))
        axes.text(value, top, f" {name}", va="top", fontsize=7, color=COLOURS["ink"])
    low, high = one.edges[0], one.edges[-1]
    ticks = [float(f"{tick:.2g}") for tick in np.geomspace(low, high, 5)]
    axes.set_xticks(ticks, [number(tick, 2) for tick in ticks])
    axes.xaxis.minorticks_off()
    axes.set_xlabel("norm of a patch's features in the last layer (no unit, logarithmic)", labelpad=2)
    axes.set_ylabel("patches (%)", labelpad=3)


def table(data: TokenNorms) -> DataTable:
    """One row for each model."""
    rows = []
    for one in data.models:
        front = ", ".join(f"{name} {number(value, 3)}" for name, value in one.front.items()) or NOT_KNOWN
        rows.append(
            (
                one.subject.title,
                one.layer,
                number(one.median, 3),
                number(one.threshold, 3),
                one.share.text(2),
                fixed(one.valley, 2),
                front,
                count(one.num_patches),
                count(one.n),
            )
        )
    return DataTable(
        (
            "Model",
            "Layer",
            "Median norm",
            "Threshold",
            "Outliers (%)",
            "Valley (ratio)",
            "Median norm of other tokens",
            "Patches",
            "Images",
        ),
        tuple(rows),
    )


token_norms = figures.register("token_norms")(
    Drawing(
        name="token_norms",
        title="Are some patches used as a scratch pad?",
        explanation="Large ViTs turn a few patches, mostly of empty background, into places to keep things for "
        "themselves: their features grow many times as long and say little of the image there. Registers take that "
        "over. A second hump far to the right would show it.",
        definition="Euclidean length of each patch's features in the last layer. Outliers need two humps: a mixture of "
        "two normal distributions must explain the logarithms of norms far better than one (BIC by more than 10), and "
        "between its peaks the density must fall below half of the lower peak (valley below 0.5); the bottom of that "
        "valley is the threshold. Share of patches, 95 % interval by bootstrap over images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
