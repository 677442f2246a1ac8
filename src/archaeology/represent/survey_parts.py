"""The parts of a survey of representations: each asks one question of all models, and says how sure the answer is."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from scipy import stats as distributions

from archaeology.core.intervals import Interval, bootstrap_ratio, mcnemar, paired_bootstrap
from archaeology.core.many import paired_share
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import numpy_generator
from archaeology.core.shapes import OtherImages
from archaeology.represent.features import Features, chosen_layers, extract_features
from archaeology.represent.neighbours import KS, nearest_vote
from archaeology.represent.objects import find_objects, score_objects
from archaeology.represent.outliers import find_outliers
from archaeology.represent.patches import PatchFeatures, patch_features, pixels_of, plain_colours
from archaeology.represent.probe import few_shot, linear_probe
from archaeology.represent.projections import project
from archaeology.represent.retrieval import retrieve
from archaeology.represent.similarity import feature_similarity
from archaeology.specimens.specimen import Specimen

READOUTS = ("class_token", "mean_patches", "registers")
STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C of the probes by layer
MIDDLE = 0.01  # where classes are too small to choose by cross-validation
MAIN_K = 5  # neighbours whose vote figures and findings show
SHOTS = (1, 2, 5, 10)
DRAWS = 10
BATCHES, SMALLEST_BATCH = 8, 8  # of CKA: few large batches vary less, many make a jackknife
LARGEST_BATCH = 256  # a batch's similarities of all layers are in memory at once
PATCH_IMAGES = 64  # whose patches are kept one by one
SHOWN_OBJECTS, SHOWN_QUERIES, SHOWN_NEIGHBOURS = 5, 3, 5
MAPPED = 400  # images on a map
BINS = 40
LARGEST_PICTURE = 96  # pixels of a side


@dataclass(eq=False)
class Asked:
    """Models and images of a survey, and the features read so far.

    Attributes:
        specimens: The models.
        layers: Module paths by model.
        images: Different from one another.
        names: Of the images.
        labels: Classes; None where nothing may be read off.
        classes: Their names.
        known: Rows of images whose labels are told.
        asked: Rows of the others.
        boxes: Around the object, as shares; None where no image has one.
        right: By model, whether it answers each image rightly.
        projections: Methods that draw maps.
        seed: Of all that is drawn.
        kept: Features by model and readout.
        patches: Those kept one by one, by model.
    """

    specimens: tuple[Specimen, ...]
    layers: Mapping[str, tuple[str, ...]]
    images: OtherImages
    names: tuple[str, ...]
    labels: Int[np.ndarray, " image"] | None
    classes: tuple[str, ...]
    known: Int[np.ndarray, " known"]
    asked: Int[np.ndarray, " asked"]
    boxes: Float[np.ndarray, "box 4"] | None
    right: Mapping[str, Bool[np.ndarray, " _"]]
    projections: tuple[str, ...]
    seed: int
    kept: dict[tuple[str, str], tuple[Features, ...]] = field(default_factory=dict)
    patches: dict[str, PatchFeatures] = field(default_factory=dict)

    def features(self, specimen: Specimen, readout: str = "mean_patches") -> tuple[Features, ...]:
        """Features of the layers that have what the readout reads; none where no layer has."""
        key = (specimen.name, readout)
        if key not in self.kept:
            try:
                able = chosen_layers(specimen, self.images, None, readout)
            except ValueError:
                able = ()
            paths = [path for path in self.layers[specimen.name] if readout == "mean_patches" or path in able]
            self.kept[key] = (
                extract_features(specimen, self.images, layers=paths, readout=readout) if paths else ()
            )
        return self.kept[key]

    def last(self, specimen: Specimen) -> Features:
        """The last layer as the answer is read from it: the class token, or the mean of patches."""
        layout = specimen.layout
        reads_mean = layout is not None and layout.readout == "mean"
        found = () if reads_mean else self.features(specimen, "class_token")
        found = found or self.features(specimen)
        return found[-1]

    def patches_of(self, specimen: Specimen) -> PatchFeatures:
        """Every patch of some images at the last layer."""
        if specimen.name not in self.patches:
            chosen = self.images[torch.from_numpy(self.drawn(PATCH_IMAGES))]
            self.patches[specimen.name] = patch_features(
                specimen, chosen, layer=self.layers[specimen.name][-1]
            )
        return self.patches[specimen.name]

    def drawn(self, most: int) -> Int[np.ndarray, " row"]:
        """Rows of at most so many images in their order, drawn as evenly from all classes as can be.

        Never the first ones: folders of classes come class by class.
        """
        order = numpy_generator(self.seed, "drawn images", len(self.images)).permutation(len(self.images))
        if self.labels is not None:
            order = order[np.argsort(place_in_class(self.labels, order)[order], kind="stable")]
        return np.sort(order[:most])

    def halves(self, features: Features) -> tuple[Features, Int[np.ndarray, " _"], Features, np.ndarray]:
        """Known features and classes, asked features and classes."""
        assert self.labels is not None
        return (
            features.rows(self.known),
            self.labels[self.known],
            features.rows(self.asked),
            self.labels[self.asked],
        )


def place_in_class(
    labels: Int[np.ndarray, " image"], order: Int[np.ndarray, " image"]
) -> Int[np.ndarray, " image"]:
    """Of every image how many of its class come before it in this order."""
    place = np.empty(len(labels), np.int64)
    for name in np.unique(labels):
        own = order[labels[order] == name]
        place[own] = np.arange(len(own))
    return place


def similarity(asked: Asked) -> list[dict[str, Any]]:
    """CKA of all layers of the first two models with one another and with themselves, and between readouts."""
    shown = asked.specimens[:2]
    pairs = [(shown[0], shown[-1]), *((one, one) for one in shown if len(shown) > 1)]
    size = min(LARGEST_BATCH, max(SMALLEST_BATCH, -(-len(asked.images) // BATCHES)))
    found = [(asked.features(one), asked.features(other)) for one, other in pairs]
    for one in shown:
        for readout in ("class_token", "registers"):
            front = asked.features(one, readout)
            same = {features.layer for features in front}
            places = tuple(features for features in asked.features(one) if features.layer in same)
            found += [(front, places)] if front else []
    return [_similar(one, other, size, asked.seed) for one, other in found]


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


def reading(asked: Asked) -> dict[str, Any]:
    """Neighbours and a linear probe on every layer and readout, and which differences are sure."""
    ks = [k for k in KS if k <= len(asked.known)]
    strengths, folds = _penalties(asked)
    assert asked.labels is not None
    chance = guessing(asked.labels[asked.asked])
    curves, hits = [], {}
    for one in asked.specimens:
        for readout in READOUTS:
            curve = [
                _read(asked, features, ks, strengths, folds) for features in asked.features(one, readout)
            ]
            if curve:
                rows, right = zip(*curve, strict=True)
                curves.append(
                    {
                        "specimen": one.name,
                        "readout": readout,
                        "is_main": readout == asked.last(one).readout,
                        "table": list(rows),
                    }
                )
                hits[one.name, readout] = right
                for row, own in zip(rows, right, strict=True):
                    row |= _of_last(own, right[-1], chance, asked.seed)
    return {
        "ks": ks,
        "main_k": _main_k(ks),
        "chance": chance,
        "num_known": len(asked.known),
        "num_asked": len(asked.asked),
        "strengths": list(strengths),
        "folds": folds,
        "curves": curves,
        "compared": _compared(asked, hits),
    }


def guessing(labels: Int[np.ndarray, " image"]) -> float:
    """Accuracy of guessing, or of always naming the largest class where that is more."""
    _, counts = np.unique(labels, return_counts=True)
    return float(max(1 / len(counts), counts.max() / counts.sum()))


Hits = Mapping[str, Bool[np.ndarray, " _"]]


def _main_k(ks: Sequence[int]) -> int:
    return max(k for k in ks if k <= MAIN_K)


def _penalties(asked: Asked) -> tuple[tuple[float, ...], int]:
    assert asked.labels is not None
    _, counts = np.unique(asked.labels[asked.known], return_counts=True)
    folds = min(3, int(counts.min()))
    return (STRENGTHS, folds) if folds > 1 else ((MIDDLE,), 1)


def _read(
    asked: Asked, features: Features, ks: Sequence[int], strengths: Sequence[float], folds: int
) -> tuple[dict[str, Any], Hits]:
    """A row of the table, and which of the images asked were named right."""
    parts = asked.halves(features)
    votes = nearest_vote(*parts, ks=ks)
    probe = linear_probe(*parts, strengths=strengths, folds=folds, seed=asked.seed)
    row: dict[str, Any] = {"layer": features.layer, "n": len(asked.asked)}
    for vote in votes:
        row |= ends(f"knn_{vote.k}", vote.accuracy)
    row |= ends("probe", probe.accuracy)
    row |= {"strength": probe.strength, "has_converged": probe.has_converged}
    main = next(vote for vote in votes if vote.k == _main_k(ks))
    return row, {"knn": main.predicted == parts[3], "probe": probe.predicted == parts[3]}


def _of_last(own: Hits, last: Hits, chance: float, seed: int) -> dict[str, Any]:
    """What share of the last layer's accuracy beyond chance a layer reaches, paired over images."""
    found: dict[str, Any] = {}
    for what in ("knn", "probe"):
        if last[what].mean() > chance:
            part, whole = (one[what].astype(np.float64) - chance for one in (own, last))
            found |= ends(f"{what}_of_last", bootstrap_ratio(part, whole, seed=seed))
    return found


def _compared(asked: Asked, hits: Mapping[tuple[str, str], Sequence[Hits]]) -> list[dict[str, Any]]:
    """Paired differences at the last layers: of readouts of a model, and of the first two models."""
    tried = [
        ((one.name, "class_token"), (one.name, other))
        for one in asked.specimens
        for other in ("mean_patches", "registers")
    ]
    if len(asked.specimens) > 1:
        first, second = ((one.name, asked.last(one).readout) for one in asked.specimens[:2])
        tried.append((first, second))
    rows = []
    for first, second in tried:
        if first not in hits or second not in hits:
            continue
        for what in ("knn", "probe"):
            one, other = hits[first][-1][what], hits[second][-1][what]
            rows.append(
                {
                    "what": what,
                    "specimen": first[0],
                    "readout": first[1],
                    "other": second[0],
                    "other_readout": second[1],
                    "n": len(one),
                    "p": mcnemar(one, other).p_value,
                }
                | ends("difference", paired_share(one, other))
            )
    return rows


def few_shots(asked: Asked) -> dict[str, Any]:
    """Probes that saw few images of each class at the last layer, and which model needs fewer."""
    assert asked.labels is not None
    _, counts = np.unique(asked.labels[asked.known], return_counts=True)
    shots = [shot for shot in SHOTS if shot <= counts.min()]
    found = {
        one.name: few_shot(*asked.halves(asked.last(one)), shots=shots, draws=DRAWS, seed=asked.seed)
        for one in asked.specimens
    }
    curves = [
        {
            "specimen": one.name,
            "layer": asked.last(one).layer,
            "readout": asked.last(one).readout,
            "table": [
                {"shots": shot, "n": len(asked.asked)} | ends("accuracy", accuracy)
                for shot, accuracy in zip(shots, found[one.name].accuracy, strict=True)
            ],
        }
        for one in asked.specimens
    ]
    rows: list[dict[str, Any]] = []
    if len(asked.specimens) > 1:
        first, second = (one.name for one in asked.specimens[:2])
        for at, shot in enumerate(shots):
            draws = over_draws(found[first].draws[at] - found[second].draws[at])
            images = paired_bootstrap(found[first].by_image[at], found[second].by_image[at], seed=asked.seed)
            row = {"shots": shot, "specimen": first, "other": second}
            rows.append(row | ends("difference", both_ways(draws, images)))
    chance = 1 / len(counts)
    return {
        "draws": DRAWS,
        "chance": chance,
        "num_classes": len(counts),
        "n": len(asked.asked),
        "curves": curves,
        "compared": rows,
    }


def over_draws(values: Float[np.ndarray, " draw"], level: float = 0.95) -> Interval:
    """Mean with Student's interval."""
    half = distributions.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, mean - float(half), mean + float(half), len(values), "student", level)


def both_ways(one: Interval, other: Interval) -> Interval:
    """An interval for what two kinds of chance move, drawn independently: half-widths add up as squares do."""
    low = float(np.hypot(one.value - one.low, other.value - other.low))
    high = float(np.hypot(one.high - one.value, other.high - other.value))
    return Interval(
        one.value, one.value - low, one.value + high, other.n, f"{one.method} and {other.method}", one.level
    )


def maps(asked: Asked) -> dict[str, Any]:
    """The last layer of each model as a map, by every method asked for."""
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
                "right": None if right is None else right[rows].tolist(),
            }
        )
    return {
        "models": found,
        "ids": [asked.names[row] for row in rows],
        "labels": None if asked.labels is None else asked.labels[rows].tolist(),
    }


def outliers(asked: Asked) -> list[dict[str, Any]]:
    """Norms of a transformer's patches in its last layer, and whether some stand out."""
    found = []
    transformers = [one for one in asked.specimens if one.kind == "transformer"]
    if not transformers:
        raise ValueError("none of the models has tokens; a map's places of high norm are no scratch pad")
    for one in transformers:
        patches = asked.patches_of(one)
        made = find_outliers(patches, seed=asked.seed)
        flat = made.norm.ravel()
        low, high = float(flat.min()), float(flat.max())
        low, high = (low, high) if low > 0 and high > low else (max(low, 1e-6), max(high, 1e-6) * 1.01)
        edges = np.geomspace(low * 0.999, high * 1.001, BINS + 1)
        found.append(
            {
                "specimen": one.name,
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
                    f"{name} {place + 1}" if made.prefix_names.count(name) > 1 else name: float(
                        np.median(made.prefix_norm[:, place])
                    )
                    for place, name in enumerate(made.prefix_names)
                },
            }
            | ends("share", made.share)
        )
    return found


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
        raise ValueError("; ".join(reasons.values()))
    rows = asked.drawn(PATCH_IMAGES)
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
                    "colours": png((255 * colours[row]).round().astype(np.uint8)),
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


def ends(name: str, found: Interval) -> dict[str, Any]:
    """An interval as entries of a row; None where a number is not defined."""
    numbers = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: float(value) if np.isfinite(value) else None for key, value in numbers.items()}


def picture_of(images: OtherImages, row: int, largest: int = LARGEST_PICTURE) -> str:
    """An image as a PNG in base64, no larger than it is shown."""
    picture = Image.fromarray(pixels_of(images, np.array([row]))[0])
    picture.thumbnail((largest, largest), Image.Resampling.BOX)
    return png(np.asarray(picture))


def png(pixels: np.ndarray) -> str:
    """8-bit pixels as a PNG file in base64."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class Part:
    """A part of the survey: what computes it, and whether it needs labels."""

    compute: Callable[[Asked], Any]
    needs_labels: bool = False


PARTS: Mapping[str, Part] = {
    "similarity": Part(similarity),
    "reading": Part(reading, needs_labels=True),
    "few_shot": Part(few_shots, needs_labels=True),
    "maps": Part(maps),
    "outliers": Part(outliers),
    "objects": Part(objects),
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
