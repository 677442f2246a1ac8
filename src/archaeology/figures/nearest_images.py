"""What a model takes to be alike: a few images, and the nearest others in the last layer of each model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from archaeology.core.names import plural
from archaeology.core.pictures import picture_of
from archaeology.figures._representation import Layered, layered_part
from archaeology.figures._robustness import Ends, Subject, ends_of, plain_float, shortened, subjects_of
from archaeology.figures._robustness_ink import WIDTH, note_height, write, write_note
from archaeology.figures._theme import COLOURS, bare, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import NOT_KNOWN, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE, GAP, LEFT, BEHIND = 0.56, 0.05, 0.1, 0.2
LETTERS = 15


@dataclass(frozen=True)
class Near:
    """A neighbour: its name, its class, how similar, and its pixels."""

    name: str
    label: str
    is_same: bool
    similarity: float
    pixels: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Query:
    """An image that was looked for, and the nearest to it in each model, by its name."""

    name: str
    label: str
    pixels: UInt8[np.ndarray, "height width 3"]
    found: Mapping[str, tuple[Near, ...]]


@dataclass(frozen=True)
class NearestImages:
    """A few queries, and how often neighbours are of the same class over all images.

    Attributes:
        subjects: Models by name.
        queries: Images looked for.
        precision: By model, in percent; unknown without labels.
        chance: Of images drawn blindly, in percent; NaN without labels.
        k: Neighbours.
        n: Images.
    """

    subjects: Mapping[str, Subject]
    queries: tuple[Query, ...]
    precision: Mapping[str, Ends]
    chance: float
    k: int
    n: int


def compute(source: Layered) -> NearestImages | None:
    """Queries of the document; None where there are none."""
    found = layered_part(source, "retrieval")
    if not found or not found["queries"]:
        return None
    names = [one["specimen"] for one in found["models"]]
    subjects = subjects_of(source.representation or {}, names)
    return NearestImages(
        {name: subjects[name] for name in names},
        tuple(_query(one) for one in found["queries"]),
        {one["specimen"]: ends_of(one, "precision").in_percent for one in found["models"]},
        100 * plain_float(found["chance"]),
        int(found["k"]),
        int(found["models"][0]["n"]),
    )


def _query(found: Mapping[str, Any]) -> Query:
    label = found["label"]
    near = {
        one["specimen"]: tuple(
            Near(
                str(each["id"]),
                str(each["label"] or ""),
                label is not None and each["label"] == label,
                float(each["similarity"]),
                np.asarray(picture_of(each["image"])),
            )
            for each in one["found"]
        )
        for one in found["neighbours"]
    }
    return Query(str(found["id"]), str(label or ""), np.asarray(picture_of(found["image"])), near)


def headline(data: NearestImages) -> str:
    """How often neighbours are of the same class in each model."""
    known = {name: ends for name, ends in data.precision.items() if ends.is_known}
    if not known:
        return f"Examples, not statistics: {plural(len(data.queries), 'image')} and what each model finds like it."
    said = [f"{data.subjects[name].title} {ends.text(0)} %" for name, ends in known.items()]
    return (
        f"Of the {data.k} nearest of each of {plural(data.n, 'image')} so many are of its class: {', '.join(said)} (95 "
        f"% intervals; drawn blindly {fixed(data.chance, 0)} %)."
    )


def draw(data: NearestImages) -> "Figure":
    """For each query a row of each model: the query, then its neighbours, those of another class underlined."""
    many = len(data.subjects)
    tall = TILE * max(one.pixels.shape[0] / one.pixels.shape[1] for one in data.queries)
    step = tall + 0.06
    block = many * step + 0.3
    note = f"Nearest first, by cosine similarity in the last layer, among {plural(data.n, 'image')}. "
    note += "Red line: of another class." if any(one.label for one in data.queries) else ""
    with themed("nearest_images"):
        figure = new_figure(WIDTH, 0.06 + block * len(data.queries) + note_height(note))
        for at, one in enumerate(data.queries):
            top = 0.06 + at * block
            write(figure, LEFT, top, shortened(one.label or one.name, 30), is_bold=True, size=7.5)
            middle = top + 0.17 + (many * step - 0.06 - tall) / 2
            _draw_tiles(place(figure, LEFT, middle, TILE, tall), [one.pixels], [], "ink")
            for row, (name, subject) in enumerate(data.subjects.items()):
                left = LEFT + TILE + BEHIND
                line = top + 0.17 + row * step
                near = one.found[name]
                wide = len(near) * (TILE + GAP) - GAP
                axes = place(figure, left, line, wide, tall)
                wrong = [number for number, each in enumerate(near) if not each.is_same and each.label]
                _draw_tiles(axes, [each.pixels for each in near], wrong, "wrong")
                title = shortened(subject.title, LETTERS)
                write(figure, left + wide + 0.06, line + 0.05, title, colour=subject.colour, size=7.0)
        write_note(figure, 0.06 + block * len(data.queries), note)
    return figure


def _strip(tiles: list[np.ndarray], share: float) -> UInt8[np.ndarray, "height wide 4"]:
    """Pictures in one row as one picture, with nothing between them: a page must not hold an element for each."""
    height, width = tiles[0].shape[:2]
    gap = max(1, round(share * width))
    strip = np.zeros((height, len(tiles) * (width + gap), 4), np.uint8)
    for at, tile in enumerate(tiles):
        left = at * (width + gap)
        strip[:, left : left + width, :3] = tile
        strip[:, left : left + width, 3] = 255
    return strip


def _draw_tiles(axes: "Axes", tiles: list[np.ndarray], marked: list[int], colour: str) -> None:
    """Pictures in one row of one pair of axes, with lines under some."""
    share = GAP / TILE
    axes.set_xlim(0, len(tiles) * (1 + share) - share)
    axes.set_ylim(0, 1)
    strip = _strip(tiles, share)
    axes.imshow(strip, extent=(0, len(tiles) * (1 + share), 0, 1), interpolation="none", aspect="auto")
    axes.set_xlim(0, len(tiles) * (1 + share) - share)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)
    if marked:
        x = np.array([[at * (1 + share), at * (1 + share) + 1, np.nan] for at in marked]).ravel()
        axes.plot(
            x,
            np.full_like(x, 0.0),
            color=COLOURS[colour],
            linewidth=3.0,
            clip_on=False,
            solid_capstyle="butt",
        )


def table(data: NearestImages) -> DataTable:
    """One row for each model over all images, then one for each query shown."""
    rows = [
        (
            f"All images, {data.subjects[name].title}",
            ends.text(1),
            f"{data.k} nearest of {plural(data.n, 'image')}",
        )
        for name, ends in data.precision.items()
    ]
    for one in data.queries:
        for name, near in one.found.items():
            listed = ", ".join(f"{each.label or each.name} {fixed(each.similarity, 2)}" for each in near)
            right = sum(each.is_same for each in near)
            share = f"{right} of {len(near)}" if one.label else NOT_KNOWN
            rows.append((f"{one.label or one.name}, {data.subjects[name].title}", share, listed))
    return DataTable(("Image and model", "Of its class (%)", "Nearest, with cosine similarity"), tuple(rows))


nearest_images = figures.register("nearest_images")(
    Drawing(
        name="nearest_images",
        title="What does each model take to be alike?",
        explanation="On the left an image, beside it the images that each model finds most like it. Neighbours of "
        "another class show what the model goes by instead: a colour, a background, a pose.",
        definition="Cosine similarity of the features of the last layer (class token, or mean of patches); an image is "
        "no neighbour of itself, nor are its copies. Share of the nearest that are of the image's class, mean over all "
        "images with 95 % interval by bootstrap over images; the images shown are the first of their classes.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
