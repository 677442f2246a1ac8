"""What patches tell apart without any label: the object from the ground in colour, and the box cut out of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from archaeology.core.names import plural
from archaeology.core.pictures import picture_of
from archaeology.figures._explanation_ink import draw_photo
from archaeology.figures._representation import Layered, layered_part
from archaeology.figures._robustness import Ends, Subject, ends_of, plain_float, shortened, subjects_of
from archaeology.figures._robustness_ink import WIDTH, note_height, write, write_note
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE, GAP, LEFT, TOP = 0.9, 0.07, 0.1, 0.42
METHODS = {"tokencut": "TokenCut", "lost": "LOST"}


@dataclass(frozen=True)
class SeenPatches:
    """What the patches of one model make of an image.

    Attributes:
        subject: The model.
        colours: Of each patch.
        box: Found, as shares of width and height; NaN where nothing was.
    """

    subject: Subject
    colours: UInt8[np.ndarray, "row column 3"]
    box: Float[np.ndarray, " 4"]


@dataclass(frozen=True)
class SeenImage:
    """One image.

    Attributes:
        name: Of the image.
        pixels: The image.
        truth: The true box, NaN where it is not known.
        models: One for each.
    """

    name: str
    pixels: UInt8[np.ndarray, "height width 3"]
    truth: Float[np.ndarray, " 4"]
    models: tuple[SeenPatches, ...]


@dataclass(frozen=True)
class ObjectScores:
    """How good the boxes of one model are.

    Attributes:
        subject: The model.
        method: That cut the boxes out.
        overlap: Mean overlap over union with the true box, in percent.
        middle: The same of a box in the middle of the image.
        gain: The difference, paired, in points.
        found: Share of images where it is half or more, in percent.
        n: Images with a true box.
    """

    subject: Subject
    method: str
    overlap: Ends
    middle: Ends
    gain: Ends
    found: Ends
    n: int


@dataclass(frozen=True)
class PatchObjects:
    """A few images, and scores over more of them; no scores where true boxes are not known."""

    images: tuple[SeenImage, ...]
    scores: tuple[ObjectScores, ...]
    n: int


def compute(source: Layered) -> PatchObjects | None:
    """Pictures of the document; None where there are none."""
    found = layered_part(source, "objects")
    if not found or not found["images"]:
        return None
    used = [one["specimen"] for one in found["images"][0]["models"]]
    subjects = subjects_of(source.representation or {}, used)
    scores = tuple(
        ObjectScores(
            subjects[row["specimen"]],
            METHODS.get(str(row["method"]), str(row["method"])),
            *(ends_of(row, key).in_percent for key in ("overlap", "middle_overlap", "gain", "found")),
            n=int(row["n"]),
        )
        for row in found["scores"]
    )
    return PatchObjects(tuple(_image(row, subjects) for row in found["images"]), scores, int(found["n"]))


def _image(row: Mapping[str, Any], subjects: Mapping[str, Subject]) -> SeenImage:
    models = tuple(
        SeenPatches(subjects[one["specimen"]], np.asarray(picture_of(one["colours"])), _box(one["box"]))
        for one in row["models"]
    )
    return SeenImage(str(row["id"]), np.asarray(picture_of(row["image"])), _box(row["box"]), models)


def _box(found: Any) -> Float[np.ndarray, " 4"]:
    return np.full(4, np.nan) if found is None else np.array([plain_float(end) for end in found])


def headline(data: PatchObjects) -> str:
    """How well boxes fit, where that is known; else that these are examples."""
    if not data.scores:
        return (
            f"Examples, not statistics: {plural(len(data.images), 'image')}, whose objects nobody has marked, so that "
            "nothing is judged."
        )
    said = []
    for one in data.scores:
        side = {1: "more than", -1: "less than", 0: "not shown to differ from"}[one.gain.side]
        said.append(
            f"{one.method} on {one.subject.title}'s patches overlaps the true box by {one.overlap.text(0)} %, {side} a "
            f"box in the middle ({one.middle.bare(0)} %)"
        )
    return f"{'; '.join(said)} (95 % intervals, {plural(data.scores[0].n, 'image')})."


def draw(data: PatchObjects) -> "Figure":
    """A column for each image: the image with boxes, then the patches of each model."""
    models = [one.subject for one in data.images[0].models]
    truth = any(np.isfinite(one.truth).all() for one in data.images)
    note = "Lines: box found without labels, in the model's colour" + (
        "; dashed: the true one. " if truth else ". "
    )
    note += f"Equal colours: alike to that model, over {plural(data.n, 'image')}."
    rows = 1 + len(models)
    tile = min(TILE, (WIDTH - 2 * LEFT - (len(data.images) - 1) * GAP) / len(data.images))
    talls = [tile * one.pixels.shape[0] / one.pixels.shape[1] for one in data.images]
    step = max(talls) + 0.28
    with themed("patch_objects"):
        figure = new_figure(WIDTH, 0.24 + rows * step + note_height(note))
        write(figure, LEFT, 0.05, "images, with the boxes found", is_bold=True, size=7.5)
        for at, subject in enumerate(models):
            words = f"patches of {shortened(subject.title)}, three main directions as colours"
            write(figure, LEFT, 0.05 + (at + 1) * step, words, colour=subject.colour, is_bold=True, size=7.5)
        for column, (one, tall) in enumerate(zip(data.images, talls, strict=True)):
            left = LEFT + column * (tile + GAP)
            axes = place(figure, left, 0.24, tile, tall)
            draw_photo(axes, one.pixels)
            size = one.pixels.shape[:2]
            _outline(axes, one.truth, size, "paper", is_dashed=True)
            for seen in one.models:
                _outline(axes, seen.box, size, seen.subject.colour)
            for at, seen in enumerate(one.models):
                below = place(figure, left, 0.24 + (at + 1) * step, tile, tall)
                draw_photo(below, seen.colours)
        write_note(figure, 0.24 + rows * step, note)
    return figure


def _outline(
    axes: "Axes",
    box: Float[np.ndarray, " 4"],
    size: tuple[int, int],
    colour: str,
    *,
    is_dashed: bool = False,
) -> None:
    """A box around pixels, light beneath dark, so that it stands out from any image."""
    if not np.isfinite(box).all():
        return
    height, width = size
    x = np.array([box[0], box[2], box[2], box[0], box[0]]) * width - 0.5
    y = np.array([box[1], box[1], box[3], box[3], box[1]]) * height - 0.5
    under = "ink" if colour == "paper" else "paper"
    style = (0, (3, 2)) if is_dashed else "solid"
    axes.plot(x, y, color=COLOURS[under], linewidth=2.8, clip_on=False)
    axes.plot(x, y, color=COLOURS[colour], linewidth=1.5, linestyle=style, clip_on=False)


def table(data: PatchObjects) -> DataTable:
    """One row for each model that was judged; the images shown where none was."""
    if not data.scores:
        return DataTable(("Image", "Box", "Images"), tuple((one.name, NOT_KNOWN, "1") for one in data.images))
    rows = tuple(
        (
            f"{one.subject.title}, {one.method}",
            one.overlap.text(1),
            one.middle.text(1),
            one.gain.text(1),
            one.found.text(1),
            count(one.n),
        )
        for one in data.scores
    )
    columns = (
        "Model and method",
        "Overlap (%)",
        "Of a middle box (%)",
        "Gain (points)",
        "Half or more (%)",
        "Images",
    )
    return DataTable(columns, rows)


patch_objects = figures.register("patch_objects")(
    Drawing(
        name="patch_objects",
        title="Do patches know what belongs together?",
        explanation="Patches of equal colour are alike to the model. Where an object has one colour and the ground "
        "another, the model has told them apart without ever having been shown a box.",
        definition="Colours: the first three principal components of all patches of the last layer are red, green "
        "and blue, from the first to the 99th percentile, the same for all images. Boxes: TokenCut, "
        "the normalised cut of the graph of patches whose cosine "
        "similarity is above the image's mean. Overlap: intersection over union with the true box where one is known, "
        "95 % intervals by bootstrap over images, gain over a box in the middle half of the image paired. The images "
        "shown are the first of their classes.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
