"""What an attack looks like: the image, the change made visible, the image after it, and the model's maps of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from archaeology.core.names import plural
from archaeology.core.pictures import picture_of
from archaeology.figures._explanation_ink import BRIGHTEST, DARKEST, draw_photo, overlay
from archaeology.figures._robustness import (
    Attacked,
    Subject,
    attack_text,
    part_of,
    short_name,
    size_text,
    subjects_of,
)
from archaeology.figures._robustness_ink import WIDTH, write
from archaeology.figures._theme import bare, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("image", "change", "adversarial", "map before", "map after")
TILE, GAP, LEFT = 0.88, 0.09, 0.13
ABOVE, BELOW, TOP = 0.2, 0.24, 0.24
GREY = np.array([0.299, 0.587, 0.114])
LONGEST_ANSWER = 15
LARGEST = 160  # pixels of a side


@dataclass(frozen=True)
class AttackedImage:
    """One image that an attack turned.

    Attributes:
        name: Of the image.
        subject: The model.
        attack: In words, with its size.
        amplified: How many times the change is drawn as large as it is, around middle grey.
        before: What the model said.
        after: What it says then.
        method: Of the maps, in words.
        image: Before.
        change: Amplified.
        adversarial: After.
        map_before: Raw values.
        map_after: Raw values.
        limit: Value that the colours of both maps end at.
    """

    name: str
    subject: Subject
    attack: str
    amplified: float
    before: str
    after: str
    method: str
    image: UInt8[np.ndarray, "height width 3"]
    change: UInt8[np.ndarray, "height width 3"]
    adversarial: UInt8[np.ndarray, "height width 3"]
    map_before: Float[np.ndarray, "row column"]
    map_after: Float[np.ndarray, "row column"]
    limit: float


@dataclass(frozen=True)
class AttackedImages:
    """A few of them, the first of the data."""

    images: tuple[AttackedImage, ...]


def compute(source: Attacked) -> AttackedImages | None:
    """Pictures of the document; None where there are none."""
    found = (part_of(source, "pictures") or {}).get("images")
    if not found:
        return None
    subjects = subjects_of(source.robustness or {}, [str(row["specimen"]) for row in found])
    return AttackedImages(tuple(_image(row, subjects[row["specimen"]]) for row in found))


def _image(row: Mapping[str, Any], subject: Subject) -> AttackedImage:
    before, after = (np.array(row[key], dtype=float) for key in ("map_before", "map_after"))
    return AttackedImage(
        name=str(row["id"]),
        subject=subject,
        attack=f"{attack_text(row['attack'], row['norm'])}, {size_text(float(row['epsilon']), row['norm'])}",
        amplified=float(row["amplified"]),
        before=str(row["answer_before"]),
        after=str(row["answer_after"]),
        method=str(row["title"]),
        image=pixels_of(row["image"]),
        change=pixels_of(row["change"], is_noise=True),
        adversarial=pixels_of(row["adversarial"]),
        map_before=before,
        map_after=after,
        limit=max(_peak(before), _peak(after)),
    )


def _peak(values: Float[np.ndarray, "row column"]) -> float:
    return float(np.nanmax(values, initial=0.0))


def pixels_of(png: str, *, is_noise: bool = False) -> UInt8[np.ndarray, "height width 3"]:
    """A PNG file in base64 as colours, no larger than it is shown; of noise pixels are left out, not averaged away."""
    from PIL import Image

    found = picture_of(png)
    step = -(-max(found.size) // LARGEST)
    if step > 1:
        how = Image.Resampling.NEAREST if is_noise else Image.Resampling.BOX
        found = found.resize((found.width // step, found.height // step), how)
    return np.asarray(found)


def headline(data: AttackedImages) -> str:
    """What was done to how many images, and that they are examples."""
    first = data.images[0]
    attacks = list(dict.fromkeys(one.attack for one in data.images))
    models = list(dict.fromkeys(one.subject.title for one in data.images))
    of = f"{plural(len(data.images), 'image')} of {', '.join(models)}"
    return (
        f"Examples, not statistics: {of} that {'; '.join(attacks)} turned, such as image {short_name(first.name)}, "
        f"{first.before} before and {first.after} after; the change is drawn {_times(data)} as large as it is."
    )


def _times(data: AttackedImages) -> str:
    found = sorted(
        {fixed(one.amplified, 0) for one in data.images}, key=lambda text: float(text.replace(",", ""))
    )
    return f"{found[0]} times" if len(found) == 1 else f"{found[0]} to {found[-1]} times"


def draw(data: AttackedImages) -> "Figure":
    """A row for each image, five tiles across."""
    talls = [TILE * one.image.shape[0] / one.image.shape[1] for one in data.images]
    with themed("attacked_images"):
        figure = new_figure(WIDTH, TOP + sum(talls) + len(talls) * (ABOVE + BELOW))
        for column, words in enumerate(COLUMNS):
            write(figure, _left(column), 0.05, words, is_bold=True, size=7.5)
        top = TOP
        for one, tall in zip(data.images, talls, strict=True):
            write(figure, LEFT, top + 0.03, one.subject.title, colour=one.subject.colour, size=7.5)
            write(figure, _left(3), top + 0.03, one.method, colour="muted", size=7.5)
            _draw_row(figure, one, top + ABOVE, tall)
            top += ABOVE + tall + BELOW
    return figure


def _left(column: int) -> float:
    return LEFT + column * (TILE + GAP)


def _draw_row(figure: "Figure", one: AttackedImage, top: float, tall: float) -> None:
    axes = [place(figure, _left(column), top, TILE, tall) for column in range(len(COLUMNS))]
    for tile, picture in zip(axes, (one.image, one.change, one.adversarial), strict=False):
        draw_photo(tile, picture)
    _draw_map(axes[3], one.image, one.map_before, one.limit)
    _draw_map(axes[4], one.adversarial, one.map_after, one.limit)
    for column, words in (
        (0, shortened(one.before)),
        (1, f"\N{MULTIPLICATION SIGN} {fixed(one.amplified, 0)}"),
        (2, shortened(one.after)),
        (3, f"peak {number(_peak(one.map_before), 2)}"),
        (4, f"peak {number(_peak(one.map_after), 2)}"),
    ):
        colour = "right" if column == 0 else "wrong" if column == 2 else "muted"
        write(figure, _left(column), top + tall + 0.04, words, colour=colour, size=7.5)


def shortened(answer: str) -> str:
    """An answer cut to the width of a tile."""
    return (
        answer if len(answer) <= LONGEST_ANSWER else f"{answer[: LONGEST_ANSWER - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _draw_map(
    axes: "Axes",
    picture: UInt8[np.ndarray, "height width 3"],
    values: Float[np.ndarray, "row column"],
    limit: float,
) -> None:
    pale = DARKEST + (BRIGHTEST - DARKEST) * (picture @ GREY / 255)
    box = (0.0, 1.0, 0.0, 1.0)
    axes.imshow(pale, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto", extent=box)
    axes.imshow(
        values,
        cmap=overlay(False),
        vmin=0,
        vmax=limit or 1.0,
        interpolation="none",
        aspect="auto",
        extent=box,
    )
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)


def table(data: AttackedImages) -> DataTable:
    """One row for each image: model, attack, answers, and how far the change was amplified."""
    rows = tuple(
        (
            one.name,
            one.subject.title,
            one.attack,
            one.before,
            one.after,
            f"{fixed(one.amplified, 1)} times",
            one.method,
        )
        for one in data.images
    )
    return DataTable(("Image", "Model", "Attack", "Said before", "Says after", "Change drawn", "Map"), rows)


attacked_images = figures.register("attacked_images")(
    Drawing(
        name="attacked_images",
        title="What does an attack look like?",
        explanation="To the eye the image and the adversarial one are hardly different, so the change is drawn many "
        "times as large. The maps show what each model's answer rested on, before and after.",
        definition="The first images that each model was right about and the attack turned. Change: adversarial less "
        "original, around middle grey, amplified as written below it. Maps: the model's own method, of the class "
        "answered, raw values from 0 to the larger peak of the two, over the image without colour. No statistics.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
