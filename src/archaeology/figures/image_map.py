"""Images as each model's last layer lays them out: near ones are alike to it, and failures lie where classes meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from archaeology.core.names import plural
from archaeology.figures._representation import (
    CLASS_COLOURS,
    PROJECTIONS,
    Layered,
    layered_part,
    readout_text,
)
from archaeology.figures._robustness import Subject, inked, shortened, subjects_of
from archaeology.figures._robustness_ink import WIDTH, key_rows, note_height, write, write_note
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTE = "Only who is near whom means something: a map's axes have no unit, its gaps and sizes of groups no meaning."
SIDE, GAP, LINE, MARGIN = 2.35, 0.12, 0.17, 0.04
OTHERS = "other classes"
LONGEST = 16


@dataclass(frozen=True)
class ModelMap:
    """One model's map.

    Attributes:
        subject: The model.
        method: "t-SNE", or what there is.
        read: Readout and layer.
        places: Of images, across and up, from 0 to 1.
        is_wrong: Whether the model's own answer is wrong; empty where that is not known of any image.
        num_judged: Images of which it is known.
        trust: Share-like: are neighbours on the map neighbours in the features? By method.
        same: Share of nearest neighbours on the map that are of an image's class; NaN without labels.
        wrong_same: The same around images answered wrongly; NaN where there are none.
    """

    subject: Subject
    method: str
    read: str
    places: Float[np.ndarray, "image 2"]
    is_wrong: Bool[np.ndarray, " _"]
    num_judged: int
    trust: Mapping[str, float]
    same: float
    wrong_same: float


@dataclass(frozen=True)
class ImageMap:
    """All models' maps.

    Attributes:
        models: One for each.
        colour: Of each image, a number of `names`; 0 for all without labels.
        names: Classes in their colours, the most frequent first; the last may stand for all others.
        n: Images.
    """

    models: tuple[ModelMap, ...]
    colour: Int[np.ndarray, " image"]
    names: tuple[str, ...]
    n: int


def compute(source: Layered) -> ImageMap | None:
    """Maps of the document; None where there are none."""
    found = layered_part(source, "maps")
    if not found or not found["models"]:
        return None
    document = source.representation or {}
    subjects = subjects_of(document, [one["specimen"] for one in found["models"]])
    labels = None if found["labels"] is None else np.array(found["labels"], dtype=np.int64)
    colour, names = _coloured(labels, document.get("classes") or (), len(found["ids"]))
    models = tuple(_model(one, subjects[one["specimen"]], labels) for one in found["models"])
    return ImageMap(models, colour, names, len(found["ids"]))


def _coloured(
    labels: Int[np.ndarray, " image"] | None, classes: Any, many: int
) -> tuple[Int[np.ndarray, " image"], tuple[str, ...]]:
    if labels is None:
        return np.zeros(many, np.int64), ("images without labels",)
    present, counts = np.unique(labels, return_counts=True)
    order = present[np.argsort(-counts, kind="stable")]
    room = len(CLASS_COLOURS)
    shown = order if len(order) <= room else order[: room - 1]
    place_of = {int(label): at for at, label in enumerate(sorted(shown.tolist()))}
    names = [str(classes[label]) if label < len(classes) else str(label) for label in place_of]
    if len(order) > room:
        names.append(OTHERS)
    return np.array([place_of.get(int(label), len(place_of)) for label in labels]), tuple(names)


def _model(found: Mapping[str, Any], subject: Subject, labels: Int[np.ndarray, " image"] | None) -> ModelMap:
    method = next(name for name in PROJECTIONS if name in found["methods"])
    chosen = found["methods"][method]
    places = np.array([chosen["x"], chosen["y"]], dtype=float).T
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - low) / np.where(high > low, high - low, 1.0)
    right = found["right"] or ()
    judged = sum(answer is not None for answer in right)
    wrong = np.array([answer is False for answer in right if judged], dtype=bool)
    same = np.full(len(places), np.nan) if labels is None else _alike_around(places, labels)
    return ModelMap(
        subject,
        PROJECTIONS[method],
        f"{readout_text(found['readout'])} of {found['layer']}",
        places,
        wrong,
        judged,
        {PROJECTIONS[name]: float(one["trustworthiness"]) for name, one in found["methods"].items()},
        100 * float(same.mean()),
        100 * float(same[wrong].mean()) if len(wrong) and wrong.any() else float("nan"),
    )


def _alike_around(
    places: Float[np.ndarray, "image 2"], labels: Int[np.ndarray, " image"], k: int = 5
) -> Float[np.ndarray, " image"]:
    """Share of the k nearest on the map that have an image's class."""
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argsort(axis=1, kind="stable")[:, : min(k, len(labels) - 1)]
    return (labels[nearest] == labels[:, None]).mean(axis=1)


def headline(data: ImageMap) -> str:
    """How many neighbours on each map share the class, and what is so around failures."""
    said = []
    for one in data.models:
        if not np.isfinite(one.same):
            said.append(f"{one.subject.title}: trustworthiness {fixed(max(one.trust.values()), 2)}")
            continue
        wrong = (
            f", around its {plural(int(one.is_wrong.sum()), 'failure')} {fixed(one.wrong_same, 0)} %"
            if np.isfinite(one.wrong_same)
            else ""
        )
        said.append(
            f"on the map of {one.subject.title} {fixed(one.same, 0)} % of an image's five nearest are of its class"
            f"{wrong}"
        )
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]} ({plural(data.n, 'image')})."


def draw(data: ImageMap) -> "Figure":
    """Models beside each other, classes in colours, failures crossed."""
    words = [shortened(name, LONGEST) for name in data.names]
    rows = key_rows(words)
    key = LINE * len(rows) + 0.08
    down = -(-len(data.models) // 2)
    with themed("image_map"):
        deep = down * (SIDE + 0.5) + key
        figure = new_figure(WIDTH, deep + note_height(NOTE))
        for at, one in enumerate(data.models):
            left, top = 0.1 + (at % 2) * (SIDE + GAP), 0.42 + (at // 2) * (SIDE + 0.5)
            write(figure, left, top - 0.37, one.subject.title, colour=one.subject.colour, is_bold=True)
            known = f"crosses: {count(int(one.is_wrong.sum()))} of {plural(one.num_judged, 'image')} wrong"
            note = known if len(one.is_wrong) else plural(data.n, "image")
            write(figure, left, top - 0.19, note, colour="muted", size=7.5)
            _draw_map(place(figure, left, top, SIDE, SIDE), one, data)
        _write_classes(figure, words, rows, down * (SIDE + 0.5) + 0.02)
        write_note(figure, deep, NOTE)
    return figure


def _draw_map(axes: "Axes", one: ModelMap, data: ImageMap) -> None:
    axes.set_xlim(-MARGIN, 1 + MARGIN)
    axes.set_ylim(-MARGIN, 1 + MARGIN)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)
    axes.patch.set_facecolor(COLOURS["faint"])
    axes.patch.set_alpha(0.45)
    for colour in range(len(data.names)):
        chosen = data.colour == colour
        size = 4.6 if data.n <= 250 else 3.6
        dots(axes, one.places[chosen, 0], one.places[chosen, 1], size=size, fill=_ink(data, colour))
    if len(one.is_wrong) and one.is_wrong.any():
        x, y = one.places[one.is_wrong].T
        half = 0.017
        nothing = np.full(len(x), np.nan)
        for sign in (1, -1):
            axes.plot(
                np.stack([x - half, x + half, nothing], axis=1).ravel(),
                np.stack([y - sign * half, y + sign * half, nothing], axis=1).ravel(),
                color=COLOURS["ink"],
                linewidth=1.0,
                clip_on=False,
                zorder=4,
            )


def _ink(data: ImageMap, colour: int) -> str:
    if data.names[colour] == OTHERS:
        return COLOURS["line"]
    return CLASS_COLOURS[colour % len(CLASS_COLOURS)]


def _write_classes(figure: "Figure", words: list[str], rows: list[list[int]], top: float) -> None:
    from archaeology.figures._robustness_ink import entry_width

    width, height = figure.get_size_inches()
    for line, row in enumerate(rows):
        left = 0.1
        for at in row:
            dot = f"\N{BLACK CIRCLE} {inked(words[at])}"
            colour = CLASS_COLOURS[at % len(CLASS_COLOURS)] if words[at] != OTHERS else COLOURS["muted"]
            figure.text(left / width, 1 - (top + LINE * line) / height, dot, va="top", color=colour)
            left += entry_width(words[at])


def table(data: ImageMap) -> DataTable:
    """One row for each model: what was mapped, neighbours of the same class, failures, trustworthiness."""
    rows = []
    for one in data.models:
        trust = ", ".join(f"{name} {fixed(value, 2)}" for name, value in one.trust.items())
        wrong = (
            f"{count(int(one.is_wrong.sum()))} of {count(one.num_judged)}" if len(one.is_wrong) else NOT_KNOWN
        )
        rows.append((one.subject.title, one.read, fixed(one.same, 1), fixed(one.wrong_same, 1), wrong, trust))
    return DataTable(
        (
            "Model",
            "Mapped",
            "Nearest five of the class (%)",
            "Around failures (%)",
            "Failures, of images",
            "Trustworthiness (0 to 1)",
        ),
        tuple(rows),
    )


image_map = figures.register("image_map")(
    Drawing(
        name="image_map",
        title="How does each model sort the images?",
        explanation="Each dot is an image, and images that a model takes to be alike lie together. Classes in groups "
        "of their own are what it knows; crosses between or inside a wrong group show what it confuses.",
        definition="t-SNE of the features of the last layer (perplexity 30, or a third of the images), begun from PCA; "
        "axes stretched to the frame. Trustworthiness: 1 where neighbours on the map are neighbours in the features, "
        "about 0.5 on a random map. Shares are of the five nearest on the map: a picture, not a test, so without "
        "interval; the figure of accuracy by layer has tests of the features themselves.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
