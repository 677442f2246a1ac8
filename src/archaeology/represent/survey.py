"""Everything that can be asked of what layers know, asked of some models about the same images, as one document.

Half of the images are known: neighbours and probes learn from them. The other half is asked, and no image is in both.
Each part is a pure function of features that are read once, so a part that cannot be asked of these models or images
(no labels, no grid of patches) is left out with its reason and the others stay. Of parts about patches, that goes for
each model.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.memory import check_room
from archaeology.core.seeding import numpy_generator
from archaeology.core.storage import plain_json
from archaeology.represent.features import Images, image_ids, images_at
from archaeology.represent.places import checked_layers, layer_paths, numbers_of_layers
from archaeology.represent.projections import projections
from archaeology.represent.survey_asked import Asked, place_in_class
from archaeology.represent.survey_parts import PARTS, part_names, told
from archaeology.specimens.specimen import Specimen

SCHEMA_VERSION = 4  # raise it whenever the same models and images would give another document
FEWEST_ASKED = 4  # images: half of the fewest
FEWEST = 8  # images: unbiased CKA needs 4, and halves of fewer say nothing
MOST_LAYERS = 12  # of each model, evenly taken: more rows than a reader can tell apart
MAPS = ("tsne", "pca")
Keep = Callable[[str, Callable[[], Any]], Any]


def represent(
    specimens: Sequence[Specimen],
    images: Images,
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"] | None = None,
    *,
    classes: Sequence[str] = (),
    names: Sequence[str] = (),
    boxes: Float[np.ndarray, "box 4"] | None = None,
    right: Mapping[str, Bool[np.ndarray, " _"]] | None = None,
    layers: Mapping[str, Sequence[str]] | None = None,
    wanted: Sequence[str] | None = None,
    maps: Sequence[str] = MAPS,
    seed: int = 0,
    keep: Keep | None = None,
) -> dict[str, Any]:
    """What the layers of one or more models know of these images: a document for figures, findings and files.

    Args:
        specimens: The models, of different names; the first two are compared.
        images: All models see the same; an image that is there again, pixel for pixel, is left out.
        labels: Their classes from 0 on, -1 for none: such images are left out where the others suffice to read a class
            off. None where they are not known, so that nothing is read off.
        classes: Names of the classes; numbers where there are none.
        names: Of the images, likewise.
        boxes: Around the object, x_min, y_min, x_max, y_max as shares of width and height, NaN where unknown.
        right: By model, whether it answers each image rightly: marked on the map, save for images without a label.
        layers: Module paths by model; where there are none, those of `layer_paths`, at most 12, evenly taken.
        wanted: Parts, of "similarity", "reading", "few_shot", "maps", "outliers", "objects", "retrieval"; all if None.
        maps: Methods that draw maps: "tsne", "pca", and "umap" where its package is installed (it takes half a minute
            to get going, so nobody gets it unasked). The first is drawn.
        seed: Of halves, batches, draws, maps and intervals.
        keep: Called with a part's name and what computes it; may answer with what was computed before.

    Returns:
        The document: "specimens", "n", the parts, "missing" (reasons by part), "unread" (reasons by model whose
        features could not be read: the others are surveyed without it) and "seconds" (by part). "outliers" and
        "objects" have a "missing" of their own: reasons by model, where only some could be asked.

    Raises:
        UnknownNameError: If there is no such part, layer or method of maps.
        MissingExtraError: If the package of a method of maps is not installed.
        ValueError: If there is no model or two of one name, fewer than 8 different images or more than fit into memory,
            or labels, names, boxes or answers are not one for each image.
    """
    chosen = part_names(wanted)
    for method in maps:
        projections.get(method)
    _check(
        specimens, len(images), {"labels": labels, "names": names or None, "boxes": boxes, **(right or {})}
    )
    ids = image_ids(images)
    rows = np.array(sorted({name: row for row, name in reversed(list(enumerate(ids)))}.values()))
    num_copies = len(images) - len(rows)
    if len(rows) < FEWEST:
        came = f"{len(rows)} and {num_copies} copies of them" if num_copies else f"{len(rows)}"
        raise ValueError(
            f"layers are asked about at least {FEWEST} different images, but got {came}; take more images."
        )
    truth = None if labels is None else np.asarray(labels)[rows].astype(np.int64)
    reason = _why_unlabelled(truth)
    num_unlabelled = 0 if reason or truth is None else int((truth < 0).sum())
    if num_unlabelled and truth is not None:
        rows, truth = rows[truth >= 0], truth[truth >= 0]
    one = images_at(images, rows[:1])
    check_room(
        len(rows) * one.numel() * one.element_size(),
        f"{len(rows):,} images of {one.shape[-2]} x {one.shape[-1]} pixels",
        "take fewer",
    )
    known, asked = (np.arange(0), np.arange(0)) if reason or truth is None else halves(truth, seed)
    subject = Asked(
        specimens=tuple(specimens),
        layers={one.name: _layers_of(one, layers) for one in specimens},
        images=images_at(images, rows),
        names=tuple(str(names[row]) if names else str(row) for row in rows),
        labels=None if reason else truth,
        classes=_class_names(truth, classes),
        known=known,
        asked=asked,
        boxes=None if boxes is None else boxes[rows],
        right={name: np.asarray(found)[rows] for name, found in (right or {}).items()},
        is_judged=np.ones(len(rows), bool) if truth is None else truth >= 0,
        projections=tuple(maps),
        seed=seed,
    )
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "specimens": [
            {
                "name": one.name,
                "kind": one.kind,
                "layers": list(subject.layers[one.name]),
                "numbers": list(numbers_of_layers(one, subject.layers[one.name])),
            }
            for one in specimens
        ],
        "n": len(rows),
        "num_known": len(known),
        "num_asked": len(asked),
        "num_copies": num_copies,
        "num_unlabelled": num_unlabelled,
        "classes": list(subject.classes),
        "seed": seed,
    }
    missing: dict[str, str] = {}
    seconds: dict[str, float] = {}

    def answer(name: str, compute: Callable[[], Any]) -> Any:
        started = time.monotonic()
        try:
            return keep(name, lambda: plain_json(compute())) if keep else plain_json(compute())
        finally:
            seconds[name] = round(time.monotonic() - started, 2)

    reads_layers = any(PARTS[name].reads_layers for name in chosen)
    unread: dict[str, str] = answer("features", subject.unread) if reads_layers else {}
    readable = subject.without(unread)
    for name in chosen:
        part = PARTS[name]
        if part.needs_labels and reason:
            missing[name] = reason
        elif part.reads_layers and not readable.specimens:
            missing[name] = told(unread)
        else:
            able = readable if part.reads_layers else subject
            try:
                document[name] = answer(name, lambda part=part, able=able: part.compute(able))
            except ValueError as error:  # what these models or images do not allow; each says what it needs
                missing[name] = str(error)
    return {**document, "unread": unread, "missing": missing, "seconds": seconds}


def halves(
    labels: Int[np.ndarray, " image"], seed: int = 0
) -> tuple[Int[np.ndarray, " known"], Int[np.ndarray, " asked"]]:
    """Rows of images that are known and of those that are asked: of every class one half each, the odd one known.

    A class of a single image is in neither: nobody could ask about it, and it would only mislead.
    """
    order = numpy_generator(seed, "halves", len(labels)).permutation(len(labels))
    place = place_in_class(labels, order)
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    is_alone = counts[own] == 1
    return np.flatnonzero((place % 2 == 0) & ~is_alone), np.flatnonzero(place % 2 == 1)


def evenly(paths: Sequence[str], most: int = MOST_LAYERS) -> tuple[str, ...]:
    """At most `most` of the paths, evenly taken, with the first and the last."""
    if len(paths) <= most:
        return tuple(paths)
    return tuple(paths[int(place)] for place in np.linspace(0, len(paths) - 1, most).round())


def _layers_of(specimen: Specimen, layers: Mapping[str, Sequence[str]] | None) -> tuple[str, ...]:
    named = (layers or {}).get(specimen.name)
    return checked_layers(specimen, tuple(named)) if named else evenly(layer_paths(specimen))


def _class_names(labels: Int[np.ndarray, " image"] | None, classes: Sequence[str]) -> tuple[str, ...]:
    count = 0 if labels is None or not len(labels) else int(labels.max()) + 1
    return tuple(str(classes[place]) if place < len(classes) else str(place) for place in range(count))


def _why_unlabelled(labels: Int[np.ndarray, " image"] | None) -> str:
    """Why nothing can be read off; empty where it can."""
    if labels is None or (labels < 0).all():
        return "the images have no labels"
    _, counts = np.unique(labels[labels >= 0], return_counts=True)
    if (counts > 1).sum() < 2:
        return "at least two classes must have two images each, one to know and one to ask"
    asked = int((counts // 2).sum())
    if asked < FEWEST_ASKED:
        return f"at least {FEWEST_ASKED} images must be asked, but only {asked} have another of their class to know"
    return ""


def _check(specimens: Sequence[Specimen], count: int, parallel: Mapping[str, Any]) -> None:
    names = [one.name for one in specimens]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"represent needs models of different names, at least one, but got {names}.")
    for name, values in parallel.items():
        if values is not None and len(values) != count:
            raise ValueError(
                f"there must be one entry for each image, but {name} has {len(values)} and there are {count} images."
            )
