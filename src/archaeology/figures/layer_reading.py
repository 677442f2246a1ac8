"""Where in a model the class becomes readable: nearest neighbours and a linear probe on every layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.layer_names import layer_name, layer_numbers
from archaeology.core.names import plural
from archaeology.figures._representation import Layered, layered_part, readout_text
from archaeology.figures._robustness import Ends, Subject, ends_of, stacked, subjects_of
from archaeology.figures._robustness_ink import (
    WIDTH,
    draw_level,
    draw_line,
    key_height,
    line_axes,
    note_height,
    panel_places,
    percent_axis,
    write_key,
    write_note,
)
from archaeology.figures._theme import new_figure, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEARLY = 0.9  # of the last layer's accuracy beyond chance
TALL, ABOVE, BELOW = 1.8, 0.42, 0.5


@dataclass(frozen=True)
class ReadingCurve:
    """One model by one readout.

    Attributes:
        subject: The model.
        readout: In words.
        is_main: Whether it is what the model's own answer is read from, more or less: the class token, else the mean.
        layers: Module paths.
        numbers: Of the model's layers by module path; None where one has none.
        depth: Of each layer, in percent of the way from the first to the last that was read.
        knn: Accuracy of the nearest neighbours in percent, with Wilson's interval.
        probe: Of the linear probe, likewise.
        others: Accuracy of other numbers of neighbours, for the table, by number.
    """

    subject: Subject
    readout: str
    is_main: bool
    layers: tuple[str, ...]
    numbers: Mapping[str, int | None]
    depth: Float[np.ndarray, " layer"]
    knn: Float[np.ndarray, "end layer"]
    probe: Float[np.ndarray, "end layer"]
    others: Mapping[str, Float[np.ndarray, "end layer"]]


@dataclass(frozen=True)
class LayerReading:
    """All models.

    Attributes:
        curves: Models by readouts.
        k: Neighbours that vote.
        chance: Accuracy in percent: one of the classes, or the share of the largest where that is more.
        num_known: Images whose classes are told.
        num_asked: Images asked about.
    """

    curves: tuple[ReadingCurve, ...]
    k: int
    chance: float
    num_known: int
    num_asked: int


def compute(source: Layered) -> LayerReading | None:
    """Curves of the document; None where there are none."""
    found = layered_part(source, "reading")
    if not found or not found["curves"]:
        return None
    subjects = subjects_of(source.representation or {}, [one["specimen"] for one in found["curves"]])
    with_class = {one["specimen"] for one in found["curves"] if one["readout"] == "class_token"}
    full = {name: layer_numbers(source.representation or {}, name) for name in subjects}
    k = int(found["main_k"])
    return LayerReading(
        curves=tuple(
            _curve(
                one,
                subjects[one["specimen"]],
                one.get(
                    "is_main",
                    one["readout"] == ("class_token" if one["specimen"] in with_class else "mean_patches"),
                ),
                full[one["specimen"]],
                [int(each) for each in found["ks"]],
                k,
            )
            for one in found["curves"]
        ),
        k=k,
        chance=100 * float(found["chance"]),
        num_known=int(found["num_known"]),
        num_asked=int(found["num_asked"]),
    )


def _curve(
    found: Mapping[str, Any],
    subject: Subject,
    is_main: bool,
    numbers: dict[str, int | None],
    ks: list[int],
    k: int,
) -> ReadingCurve:
    layers = list(numbers)
    table = found["table"]
    paths = tuple(str(row["layer"]) for row in table)
    places = [layers.index(path) if path in layers else at for at, path in enumerate(paths)]
    whole = max(len(layers), len(paths)) - 1

    def column(key: str) -> Float[np.ndarray, "end layer"]:
        return 100 * stacked([ends_of(row, key) for row in table])

    return ReadingCurve(
        subject=subject,
        readout=readout_text(found["readout"]),
        is_main=is_main,
        layers=paths,
        numbers=numbers,
        depth=np.array([100 * at / whole if whole else 100.0 for at in places], dtype=float),
        knn=column(f"knn_{k}"),
        probe=column("probe"),
        others={str(each): column(f"knn_{each}") for each in ks if each != k},
    )


def headline(data: LayerReading) -> str:
    """From which layer on each model's neighbours are nearly as good as in its last."""
    said = [_said(curve, data) for curve in data.curves if curve.is_main]
    halves = f"{plural(data.num_known, 'image')} known, {data.num_asked:,} others asked"
    return f"{' '.join(said)} {halves[:1].upper()}{halves[1:]}; chance {fixed(data.chance, 1)} %."


def _said(curve: ReadingCurve, data: LayerReading) -> str:
    last = Ends(*(float(end) for end in curve.knn[:, -1]))
    depth = len(curve.layers)
    name = curve.subject.title
    if last.low <= data.chance:
        return f"Neighbours in the last layer of {name} are not shown to be better than chance: {last.text(0)} %."
    beyond = curve.knn[0] - data.chance
    first = int(np.argmax(beyond >= NEARLY * beyond[-1]))
    share = f"neighbours name {fixed(last.value, 0)} % ({last.range(0)}) right"
    if first == depth - 1:
        return f"In the last layer of {name} {share}, in none before it nine tenths of that beyond chance."
    there = fixed(float(curve.knn[0, first]), 0)
    place = layer_name(curve.layers[first], curve.numbers)
    return f"In the last layer of {name} {share}, and {there} % in {place}: nine tenths or more of that beyond chance."


def draw(data: LayerReading) -> "Figure":
    """Neighbours on the left, the probe on the right; other readouts than the main one dashed."""
    subjects = list({curve.subject.name: curve.subject for curve in data.curves}.values())
    dashed = sorted({curve.readout for curve in data.curves if not curve.is_main})
    main = sorted({curve.readout for curve in data.curves if curve.is_main})
    note = f"Dotted: chance. Lines: {' or '.join(main)}" + (
        f"; dashed: {', '.join(dashed)}." if dashed else "."
    )
    top = key_height(subjects)
    with themed("layer_reading"):
        deep = top + ABOVE + TALL + BELOW
        figure = new_figure(WIDTH, deep + note_height(note))
        write_key(figure, subjects)
        write_note(figure, deep, note)
        titles = (plural(data.k, "nearest neighbour"), "linear probe")
        for at, box in enumerate(panel_places(2, 2, top, TALL, ABOVE, BELOW)):
            axes = line_axes(
                figure,
                box,
                titles[at],
                "of the known images vote" if at == 0 else "a straight line parts the classes",
            )
            axes.set_xlim(0, 100)
            percent_axis(axes, is_labelled=at == 0)
            draw_level(axes, data.chance, "muted")
            for curve in data.curves:
                ends = curve.knn if at == 0 else curve.probe
                draw_line(axes, curve.depth, ends, curve.subject.colour, is_dashed=not curve.is_main)
            axes.set_xticks([0, 50, 100], ["first", "half way", "last"])
            axes.set_xlabel("layer", labelpad=1)
            if at == 0:
                axes.set_ylabel("images named right (%)", labelpad=3)
    return figure


def table(data: LayerReading) -> DataTable:
    """One row for each model, readout and layer: all numbers of neighbours, and the probe."""
    others = sorted({int(k) for curve in data.curves for k in curve.others})
    ks = sorted([*others, data.k])
    rows = []
    for curve in data.curves:
        for at, layer in enumerate(curve.layers):
            columns = [curve.knn if k == data.k else curve.others[str(k)] for k in ks] + [curve.probe]
            cells = [Ends(*(float(end) for end in column[:, at])).text(1) for column in columns]
            rows.append((f"{curve.subject.title}, {curve.readout}: {layer}", *cells, f"{data.num_asked:,}"))
    names = (f"k = {k} (%)" for k in ks)
    return DataTable(("Model, readout and layer", *names, "Probe (%)", "Images asked"), tuple(rows))


layer_reading = figures.register("layer_reading")(
    Drawing(
        name="layer_reading",
        title="In which layer is the class readable?",
        explanation="Half of the images are known with their classes, the other half is asked. Where the line is high, "
        "images of one class already lie beside each other (neighbours), or on one side of a line (probe): the layers "
        "after it have little to add.",
        definition="Neighbours: the k nearest known images by cosine similarity vote; nothing is trained. Probe: "
        "multinomial logistic regression with a squared penalty on standardised features, the penalty chosen by "
        "cross-validation within the known images. Share of the asked images named right, with Wilson's 95 % interval. "
        "No image is in both halves, not even as a copy; every class gives one half to each. Classes are those of the "
        "data, not of the model. Chance: one by the number of classes, or always naming the largest class (the "
        "majority baseline) where that is right more often.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
