"""The parts of a survey of representations: each asks one question of all models, and says how sure the answer is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image

from archaeology.core.pictures import png_text
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import OtherImages
from archaeology.represent.features import Features
from archaeology.represent.objects import find_objects, score_objects
from archaeology.represent.outliers import find_outliers
from archaeology.represent.patches import PatchFeatures, pixels_of, plain_colours
from archaeology.represent.projections import project
from archaeology.represent.retrieval import retrieve
from archaeology.represent.similarity import feature_similarity
from archaeology.represent.survey_asked import Asked, ends
from archaeology.represent.survey_reading import few_shots, reading

BATCHES, SMALLEST_BATCH = 8, 8  # of CKA: few large batches vary less, many make a jackknife
LARGEST_BATCH = 256  # a batch's similarities of all layers are in memory at once
SHOWN_OBJECTS, SHOWN_QUERIES, SHOWN_NEIGHBOURS = 5, 3, 5
MAPPED = 400  # images on a map
BINS = 40
LARGEST_PICTURE = 96  # pixels of a side


def similarity(asked: Asked) -> list[dict[str, Any]]:
    """CKA of all layers of the first two models with one another and with themselves, and between readouts."""
    shown = asked.specimens[:2]
    pairs = [(shown[0], shown[-1]), *((one, one) for one in shown if len(shown) > 1)]
    size = batch_of(len(asked.images))
    found = [(asked.features(one), asked.features(other)) for one, other in pairs]
    for one in shown:
        for readout in ("class_token", "registers"):
            front = asked.features(one, readout)
            same = {features.layer for features in front}
            places = tuple(features for features in asked.features(one) if features.layer in same)
            found += [(front, places)] if front else []
    return [_similar(one, other, size, asked.seed) for one, other in found]


def batch_of(count: int) -> int:
    """Images in a batch of the similarity: what is held of them at once grows with its square, never with `count`."""
    return min(LARGEST_BATCH, max(SMALLEST_BATCH, -(-count // BATCHES)))


def _similar(first: Sequence[Features], second: Sequence[Features], size: int, seed: int) -> dict[str, Any]:
    made = feature_similarity(first, second, batch_size=size, seed=seed)
    return {
        "first": made.first,
        "second": made.second,
        "first_readout": first[0].readout,
        "second_readout": second[0].readout,
        "first_layers": [tap.layer for tap in made.first_taps],
        "second_layers": [tap.layer for tap in made.second_taps],
        "cka": made.cka.value,
        "low": made.cka.low,
        "high": made.cka.high,
        "constant": list(made.constant),
        "n": made.num_images,
        "batches": made.num_batches,
    }


def maps(asked: Asked) -> dict[str, Any]:
    """The last layer of each model as a map, by every method asked for."""
    if not asked.projections:
        raise ValueError("no method of drawing them was asked for; name tsne, pca or umap")
    rows = asked.drawn(MAPPED)
    found = []
    for one in asked.specimens:
        features = asked.last(one).rows(rows)
        drawn = {}
        for method in asked.projections:
            made = project(method, features, seed=asked.seed)
            drawn[method] = {
                "x": made.coordinates[:, 0].round(4),
                "y": made.coordinates[:, 1].round(4),
                "trustworthiness": made.trustworthiness,
                "neighbours": made.neighbours,
                "parameters": dict(made.parameters),
            }
        right = asked.right.get(one.name)
        found.append(
            {
                "specimen": one.name,
                "layer": features.layer,
                "readout": features.readout,
                "methods": drawn,
                "right": None
                if right is None
                else [bool(right[row]) if asked.is_judged[row] else None for row in rows],
            }
        )
    return {
        "models": found,
        "ids": [asked.names[row] for row in rows],
        "labels": None if asked.labels is None else asked.labels[rows].tolist(),
    }


def outliers(asked: Asked) -> dict[str, Any]:
    """Norms of each transformer's patches in its last layer, and whether some stand out; reasons where one has none."""
    found, reasons = [], {}
    transformers = [one for one in asked.specimens if one.kind == "transformer"]
    if not transformers:
        raise ValueError("none of the models has tokens; a map's places of high norm are no scratch pad")
    for one in transformers:
        try:
            found.append(_norms(one.name, asked.patches_of(one), asked.seed))
        except ValueError as error:
            reasons[one.name] = str(error)
    if not found:
        raise ValueError(told(reasons))
    return {"models": found, "missing": reasons}


def _norms(name: str, patches: PatchFeatures, seed: int) -> dict[str, Any]:
    made = find_outliers(patches, seed=seed)
    flat = made.norm.ravel()
    low, high = float(flat.min()), float(flat.max())
    low, high = (low, high) if low > 0 and high > low else (max(low, 1e-6), max(high, 1e-6) * 1.01)
    edges = np.geomspace(low * 0.999, high * 1.001, BINS + 1)
    row = {
        "specimen": name,
        "layer": patches.layer,
        "n": len(patches.ids),
        "num_patches": flat.size,
        "edges": edges,
        "counts": np.histogram(flat, edges)[0],
        "median": float(np.median(flat)),
        "threshold": made.threshold if made.is_bimodal else None,
        "num_outliers": int(made.is_outlier.sum()),
        "bic_gain": made.bic_gain,
        "valley": made.valley,
        "front": {
            f"{token} {place + 1}" if made.prefix_names.count(token) > 1 else token: float(
                np.median(made.prefix_norm[:, place])
            )
            for place, token in enumerate(made.prefix_names)
        },
    }
    return row | ends("share", made.share)


def told(reasons: Mapping[str, str]) -> str:
    """Reasons of several models as one."""
    return "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in reasons.items())


def objects(asked: Asked) -> dict[str, Any]:
    """Patches in colour and objects found without labels, for a few images; judged by boxes where they are known."""
    per_model, reasons = {}, {}
    for one in asked.specimens:
        try:
            patches = asked.patches_of(one)
            per_model[one.name] = plain_colours(patches), find_objects(patches)
        except ValueError as error:
            reasons[one.name] = str(error)
    if not per_model:
        raise ValueError(told(reasons))
    rows = asked.patch_rows()
    count = len(rows)
    boxes = None if asked.boxes is None else asked.boxes[rows]
    has_box = np.zeros(count, bool) if boxes is None else np.asarray(np.isfinite(boxes).all(axis=1), bool)
    scores = []
    for name, (_, made) in per_model.items() if boxes is not None and has_box.sum() > 1 else ():
        assert boxes is not None
        some = np.flatnonzero(has_box)
        kept = type(made)(
            made.is_object[some], made.boxes[some], made.eigenvector[some], made.threshold[some], made.name
        )
        score = score_objects(kept, boxes[some].astype(np.float64), seed=asked.seed)
        scored: dict[str, Any] = {"specimen": name, "method": "tokencut", "n": len(some)}
        for key in ("found", "overlap", "middle_found", "middle_overlap", "gain"):
            scored |= ends(key, getattr(score, key))
        scores.append(scored)
    shown = np.searchsorted(rows, _one_of_each(asked, rows, SHOWN_OBJECTS))
    pictures = []
    for row in shown:
        models = []
        for name, (colours, made) in per_model.items():
            models.append(
                {
                    "specimen": name,
                    "colours": png_text((255 * colours[row]).round().astype(np.uint8)),
                    "box": made.boxes[row],
                }
            )
        true = boxes[row] if boxes is not None and has_box[row] else None
        picture = picture_of(asked.images, int(rows[row]))
        pictures.append({"id": asked.names[rows[row]], "image": picture, "box": true, "models": models})
    return {"images": pictures, "scores": scores, "n": count, "missing": reasons}


def retrieval(asked: Asked) -> dict[str, Any]:
    """The images that each model takes to be most like a few others; and how often they are of the same class."""
    every = np.arange(len(asked.images))
    k = min(SHOWN_NEIGHBOURS, len(every) - 1)
    models, seen = [], {}
    for one in asked.specimens:
        features = asked.last(one)
        own = {} if asked.labels is None else {"labels": asked.labels, "query_labels": asked.labels}
        made = retrieve(features, features, k, **own, seed=asked.seed)
        precision = {} if made.precision is None else ends("precision", made.precision)
        models.append(
            {"specimen": one.name, "layer": features.layer, "readout": features.readout, "n": len(every)}
            | precision
        )
        seen[one.name] = made
    queries = []
    for row in _one_of_each(asked, every, SHOWN_QUERIES):
        neighbours = [
            {
                "specimen": one.name,
                "found": [
                    {
                        "id": asked.names[other],
                        "label": _label(asked, int(other)),
                        "similarity": float(near),
                        "image": picture_of(asked.images, int(other), 64),
                    }
                    for other, near in zip(
                        seen[one.name].found[row], seen[one.name].similarity[row], strict=True
                    )
                    if other >= 0
                ],
            }
            for one in asked.specimens
        ]
        queries.append(
            {
                "id": asked.names[row],
                "label": _label(asked, row),
                "image": picture_of(asked.images, row, 64),
                "neighbours": neighbours,
            }
        )
    shares = None
    if asked.labels is not None:
        _, counts = np.unique(asked.labels, return_counts=True)
        shares = float((counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1)))
    return {"k": k, "models": models, "queries": queries, "chance": shares}


def _label(asked: Asked, row: int) -> str | None:
    return None if asked.labels is None else asked.classes[int(asked.labels[row])]


def _one_of_each(asked: Asked, rows: Int[np.ndarray, " _"], most: int) -> list[int]:
    """The first image of each class in the order of the images, at most so many; the first images without labels."""
    if asked.labels is None:
        return [int(row) for row in rows[:most]]
    first = {int(asked.labels[row]): int(row) for row in rows[::-1]}
    order = sorted(first.values())
    more = [int(row) for row in rows if int(row) not in set(order)]
    return (order + more)[:most]


def picture_of(images: OtherImages, row: int, largest: int = LARGEST_PICTURE) -> str:
    """An image as a PNG in base64, no larger than it is shown."""
    picture = Image.fromarray(pixels_of(images, np.array([row]))[0])
    picture.thumbnail((largest, largest), Image.Resampling.BOX)
    return png_text(np.asarray(picture))


@dataclass(frozen=True)
class Part:
    """A part of the survey: what computes it, and whether it needs labels, and the features of all layers."""

    compute: Callable[[Asked], Any]
    needs_labels: bool = False
    reads_layers: bool = True


PARTS: Mapping[str, Part] = {
    "similarity": Part(similarity),
    "reading": Part(reading, needs_labels=True),
    "few_shot": Part(few_shots, needs_labels=True),
    "maps": Part(maps),
    "outliers": Part(outliers, reads_layers=False),
    "objects": Part(objects, reads_layers=False),
    "retrieval": Part(retrieval),
}


def part_names(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Names of parts in their order.

    Raises:
        UnknownNameError: If there is no such part; suggests the nearest.
    """
    for name in wanted or ():
        if name not in PARTS:
            raise unknown_name("part of the survey of layers", name, list(PARTS))
    return tuple(name for name in PARTS if wanted is None or name in wanted)
