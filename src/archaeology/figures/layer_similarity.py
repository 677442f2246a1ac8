"""Which layer of one model sees images as which layer of the other does: CKA of all pairs of layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.layer_names import layer_name, layer_numbers
from archaeology.core.names import plural
from archaeology.figures._representation import Layered, layered_part, readout_text
from archaeology.figures._robustness import Ends, Subject, shortened, subjects_of
from archaeology.figures._robustness_ink import WIDTH, note_height, write, write_note
from archaeology.figures._theme import COLOURS, SEQUENTIAL, bare, colour_bar, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = "Layers are counted as blocks, a stem is 0. Written: CKA times 100. Yellow: the same images are alike to both."
LEFT, TOP, BIG, SMALL = 0.5, 0.62, 2.62, 0.86
GAP, BETWEEN = 0.5, 0.56
MOST_WRITTEN, MOST_SMALL, PALE = 12, 3, 0.6


@dataclass(frozen=True)
class Alike:
    """CKA of the layers of one model, down, with those of another, across.

    Attributes:
        first: The model down the side.
        second: The model along the top; may be the same.
        first_readout: What of the tokens was compared, in words.
        second_readout: Likewise.
        first_layers: Module paths.
        second_layers: Module paths.
        first_numbers: By module path; None where a layer has none.
        second_numbers: Likewise.
        value: NaN where a layer says the same for all images.
        low: Lower end of the 95 % interval.
        high: Upper end.
        best: Place of the largest value.
        n: Images.
    """

    first: Subject
    second: Subject
    first_readout: str
    second_readout: str
    first_layers: tuple[str, ...]
    second_layers: tuple[str, ...]
    first_numbers: Mapping[str, int | None]
    second_numbers: Mapping[str, int | None]
    value: Float[np.ndarray, "row column"]
    low: Float[np.ndarray, "row column"]
    high: Float[np.ndarray, "row column"]
    best: tuple[int, int]
    n: int

    def at(self, row: int, column: int) -> Ends:
        """One pair."""
        return Ends(*(float(part[row, column]) for part in (self.value, self.low, self.high)))

    def names_at(self, row: int, column: int) -> tuple[str, str]:
        """The two layers of a pair, in words."""
        return (
            layer_name(self.first_layers[row], self.first_numbers),
            layer_name(self.second_layers[column], self.second_numbers),
        )

    @property
    def is_within(self) -> bool:
        """Whether both sides are one model."""
        return self.first.name == self.second.name

    @property
    def title(self) -> str:
        """What is compared, in a few words."""
        if self.first_readout != self.second_readout:
            return f"{self.first.title}: {self.first_readout} and patches"
        return (
            f"{self.first.title} and itself"
            if self.is_within
            else f"{self.first.title} and {self.second.title}"
        )


@dataclass(frozen=True)
class LayerSimilarity:
    """The comparison of two models first, then those within each."""

    pairs: tuple[Alike, ...]


def compute(source: Layered) -> LayerSimilarity | None:
    """Comparisons of the document; None where there are none."""
    found = layered_part(source, "similarity")
    if not found:
        return None
    subjects = subjects_of(
        source.representation or {}, [one[end] for one in found for end in ("first", "second")]
    )
    return LayerSimilarity(tuple(_alike(one, subjects, source.representation or {}) for one in found))


def _alike(found: Mapping[str, Any], subjects: Mapping[str, Subject], document: Mapping[str, Any]) -> Alike:
    value, low, high = (np.array(found[key], dtype=float) for key in ("cka", "low", "high"))
    known = np.where(np.isfinite(value), value, -1.0)
    row, column = np.unravel_index(int(known.argmax()), known.shape)
    return Alike(
        first=subjects[found["first"]],
        second=subjects[found["second"]],
        first_readout=readout_text(found["first_readout"]),
        second_readout=readout_text(found["second_readout"]),
        first_layers=tuple(found["first_layers"]),
        second_layers=tuple(found["second_layers"]),
        first_numbers=layer_numbers(document, found["first"]),
        second_numbers=layer_numbers(document, found["second"]),
        value=value,
        low=low,
        high=high,
        best=(int(row), int(column)),
        n=int(found["n"]),
    )


def headline(data: LayerSimilarity) -> str:
    """Where two models agree most, and how far their last layers do; of one model how far it moves."""
    one = data.pairs[0]
    last = one.at(-1, -1)
    images = plural(one.n, "image")
    if one.is_within:
        ends = one.at(0, -1)
        if len(one.value) < 2:
            return f"One layer of {one.first.title} was looked at ({images}): there is nothing to compare it with."
        return (
            f"What its first and its last layer make of images is alike in {one.first.title} by a CKA of "
            f"{ends.text(2)}, where 1 is the same ({_interval(ends)}, {images})."
        )
    row, column = one.best
    top = one.at(row, column)
    names = one.names_at(row, column)
    places = f"{names[0]} of {one.first.title} and {names[1]} of {one.second.title}"
    if (row, column) == (len(one.value) - 1, one.value.shape[1] - 1):
        return f"They are most alike in their last layers: CKA {top.text(2)} ({_interval(top)}, {images})."
    return (
        f"They are most alike in {places}: CKA {top.text(2)}; for their last layers {last.text(2)} "
        f"({_interval(top)}{'s' if np.isfinite(top.low) else ''}, {images})."
    )


def _interval(ends: Ends) -> str:
    return "95 % interval" if np.isfinite(ends.low) else "too few images for an interval"


def draw(data: LayerSimilarity) -> "Figure":
    """The two models with each other large, each with itself small."""
    main, others = data.pairs[0], data.pairs[1 : 1 + MOST_SMALL]
    tall = BIG * min(1.0, max(0.55, len(main.value) / main.value.shape[1]))
    below = max(TOP + tall + 0.72, TOP + len(others) * (SMALL + BETWEEN))
    with themed("layer_similarity"):
        figure = new_figure(WIDTH, below + note_height(NOTE))
        axes = place(figure, LEFT, TOP, BIG, tall)
        write(
            figure,
            LEFT,
            0.05,
            main.title if main.is_within else main.second.title,
            colour=main.second.colour,
            is_bold=True,
        )
        write(figure, LEFT, 0.25, "layer of it, mean of its patches", colour="muted", size=7.5)
        _cells(axes, main, is_written=max(main.value.shape) <= MOST_WRITTEN)
        axes.set_ylabel(
            f"layer of {shortened(main.first.title, 22)}", color=COLOURS[main.first.colour], labelpad=2
        )
        bar = place(figure, LEFT, TOP + tall + 0.14, BIG, 0.1)
        colour_bar(bar, SEQUENTIAL, 0.0, 1.0, "CKA (ratio, 1: alike, 0: nothing in common)")
        for at, one in enumerate(others):
            top = TOP + at * (SMALL + BETWEEN)
            left = LEFT + BIG + GAP
            small = place(figure, left, top, SMALL, SMALL)
            _cells(small, one, is_written=False)
            words = one.title.split(": ") if ": " in one.title else (one.first.title, "and itself")
            write(figure, left - 0.18, top - 0.44, shortened(words[0], 24), colour=one.first.colour, size=7.5)
            write(figure, left - 0.18, top - 0.3, words[1], colour="muted", size=7.0)
        write_note(figure, below, NOTE)
    return figure


def _cells(axes: "Axes", one: Alike, *, is_written: bool) -> None:
    rows, columns = one.value.shape
    axes.imshow(
        one.value, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="none", clip_on=False
    )
    for set_ticks, many, layers, numbers in (
        (axes.set_xticks, columns, one.second_layers, one.second_numbers),
        (axes.set_yticks, rows, one.first_layers, one.first_numbers),
    ):
        shown = range(many) if is_written else sorted({0, many - 1})
        set_ticks(list(shown), [_tick(layers[at], numbers) for at in shown], fontsize=8 if is_written else 7)
    axes.xaxis.tick_top()
    bare(axes)
    axes.tick_params(top=False, pad=1)
    if not is_written:
        return
    for row in range(rows):
        for column in range(columns):
            value = float(one.value[row, column])
            text = fixed(100 * value, 0) if np.isfinite(value) else NOT_KNOWN
            colour = "black" if value >= PALE else "white" if np.isfinite(value) else COLOURS["muted"]
            is_best = (row, column) == one.best
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                color=colour,
                fontsize=7 if max(rows, columns) > 8 else 8,
                fontweight="bold" if is_best else "normal",
            )


def _tick(path: str, numbers: Mapping[str, int | None]) -> str:
    number = numbers.get(path)
    return shortened(path, 6) if number is None else str(number)


def table(data: LayerSimilarity) -> DataTable:
    """For each layer of the first of two models the layer of the second that is most like it, and itself."""
    rows = []
    for one in data.pairs:
        for row, layer in enumerate(one.first_layers):
            known = np.where(np.isfinite(one.value[row]), one.value[row], -1.0)
            if one.is_within and one.first_readout == one.second_readout:
                known[row] = -1.0
            if known.max() < 0:
                rows.append((f"{one.title}: {layer}", NOT_KNOWN, NOT_KNOWN, count(one.n)))
                continue
            best = int(known.argmax())
            rows.append(
                (f"{one.title}: {layer}", one.second_layers[best], one.at(row, best).text(2), count(one.n))
            )
    return DataTable(("Layer", "Most like (other) layer", "CKA (95 % interval)", "Images"), tuple(rows))


layer_similarity = figures.register("layer_similarity")(
    Drawing(
        name="layer_similarity",
        title="Which layers see images alike?",
        explanation="Two layers are alike where they find the same images alike, whatever their features are. A bright "
        "diagonal says that both models go the same way through their depth; bright corners off it, that one gets "
        "there earlier.",
        definition="Centred kernel alignment (linear, unbiased): HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)), K and L the "
        "inner products of all images in each layer, each image the mean of its patches or places. HSIC is averaged "
        "over batches of images drawn at random; 95 % intervals by jackknife over batches. A ratio without unit; it "
        "says nothing of classes. Small: each model with itself, and the class token with the patches.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
