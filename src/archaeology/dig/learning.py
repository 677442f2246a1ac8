"""Ways of learning side by side on the same images: what supervision, self-distillation, masking and captions know.

Every subject is asked the same: neighbours, probes, another data set, attention, attacks, corruptions, shape against
texture. Beside it stand two floors: the same architecture with random weights, whose patches and depth alone give some
structure, and raw pixels. After `caron2021emerging` (k-NN and probes on frozen features) and `geirhos2019imagenet`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from archaeology.core.intervals import Interval, bootstrap_mean, paired_bootstrap, wilson
from archaeology.core.many import corrected, sign_flip_test
from archaeology.core.progress import progress
from archaeology.data.cache import decode_once
from archaeology.data.chosen import ChosenImages, choose_evenly
from archaeology.data.decoded import DecodedImages, evenly
from archaeology.data.open import open_source
from archaeology.data.source import ImageSource
from archaeology.dig.learning_measures import (
    SIMPLE,
    Asked,
    Images,
    Limits,
    attention_samples,
    shape_answers,
    shape_samples,
)
from archaeology.dig.learning_result import Difference, LearningComparison, Subject, Value
from archaeology.represent.backbone import PIXELS, backbone, pixels
from archaeology.robustness.shape_bias import ShapeBias
from archaeology.specimens.fresh import fresh
from archaeology.specimens.load import load, parse
from archaeology.specimens.specimen import Specimen

WAYS = {  # part of the name of a recipe -> how it teaches; the first that fits
    "self_distilled": "self-distilled",
    "masked": "masked",
    "image_text": "image-text",
}
TEXT_AND_IMAGES = ("open_clip",)
LOOKED_AT = 16  # images of each part, to tell whether all have one size


def way_of(specimen: Specimen, spec: str) -> str:
    """How a specimen learned, by its recipe or library; "unknown" where that does not tell."""
    recipe = specimen.facts.get("recipe")
    if isinstance(recipe, str):
        return next((way for part, way in WAYS.items() if part in recipe), "supervised")
    prefix = parse(spec)[0]
    if prefix in TEXT_AND_IMAGES:
        return "image-text"
    return "supervised" if prefix == "torchvision" and specimen.classes else "unknown"


def compare_learning(
    specs: Sequence[str],
    *,
    data: str,
    split: str | None = None,
    known_split: str | None = None,
    transfer: str | None = None,
    limits: Limits | None = None,
    names: Mapping[str, str] | None = None,
    has_floors: bool = True,
    seed: int = 0,
    device: str = "auto",
) -> LearningComparison:
    """Put ways of learning beside each other on the same images.

    Args:
        specs: Specimens, as for `load`; the first is the reference that others are held against.
        data: Images with labels, as for `open_source`.
        split: The part that is asked about; None for "test" where there are several parts, else half of the only one.
        known_split: The part whose labels are known; None for "train", else the other half.
        transfer: Another data set on which probes are fitted and judged; None for none.
        limits: How much is asked.
        names: What to call specimens, by spec; the last part of the spec if not given.
        has_floors: Whether the same architectures with random weights and raw pixels are asked, too.
        seed: Of images chosen, folds, draws, attacks and resampling.
        device: As for `load`.

    Raises:
        ValueError: If there is no specimen, one comes twice or two are called alike, or the images do not do (fewer
            than two classes, fewer than neighbours).
        UnknownNameError: As `load` and `open_source`.
    """
    limits = limits or Limits()
    called = _called(specs, names or {})
    learnt = {called[spec]: load(spec, device=device) for spec in specs}
    height, width = (max(one.image_size[axis] for one in learnt.values()) for axis in (0, 1))
    kept = max(one.crop_fraction for one in learnt.values())
    images = open_images(data, split, known_split, (height, width), limits, seed, crop_fraction=kept)
    other = None
    if transfer is not None:
        other = open_images(transfer, None, None, (height, width), limits, seed, crop_fraction=kept)
    subjects, backbones = _subjects(learnt, called, images, has_floors=has_floors, seed=seed, device=device)
    started = time.perf_counter()
    values, notes = _values(subjects, backbones, images, other, limits, seed)
    reference = subjects[0].name
    settings = {
        **asdict(limits),
        "known": len(images.known),
        "asked": len(images.asked),
        "transfer": transfer,
        "seed": seed,
        "seconds": round(time.perf_counter() - started, 1),
    }
    split_words = " ".join(filter(None, (images.asked.name, images.asked.split)))
    return LearningComparison(
        data=split_words,
        reference=reference,
        subjects=subjects,
        values=values,
        differences=differences_of(subjects, values, reference, seed),
        settings=settings,
        notes=notes,
    )


def open_images(
    data: str,
    split: str | None,
    known_split: str | None,
    size: tuple[int, int],
    limits: Limits,
    seed: int,
    *,
    crop_fraction: float = 1.0,
) -> Images:
    """Known images and others to be asked about, all in one size, chosen before they are decoded; none is in both.

    That is `size`, cropped as models are used to, save where all images have one smaller size: then they stay as they
    are, for each model scales them itself.

    Raises:
        ValueError: If there are fewer than two classes, or fewer known images than neighbours.
    """
    whole = {name: _source(data, name) for name in (split or "test", known_split or "train")}
    asked, known = whole[split or "test"], whole[known_split or "train"]
    if asked is None or known is None:
        if split is not None and known_split is not None:
            for name in (split, known_split):
                open_source(data, split=name)  # says what is wrong
        known, asked = _halves(open_source(data, split=split or known_split), seed)
    parts = _chosen(known, limits.known, seed), _chosen(asked, limits.asked, seed)
    size, crop_fraction = _as_seen(parts, size, crop_fraction)
    chosen = Images(*(decode_once(part, size, crop_fraction=crop_fraction) for part in parts))
    seen = {image.tobytes() for image in np.asarray(chosen.asked.images)}
    apart = [row for row, image in enumerate(np.asarray(chosen.known.images)) if image.tobytes() not in seen]
    chosen = Images(_rows(chosen.known, np.array(apart, dtype=np.int64)), chosen.asked)
    _check(chosen, limits, data)
    return chosen


def _check(images: Images, limits: Limits, data: str) -> None:
    if tuple(images.known.classes) != tuple(images.asked.classes):
        raise ValueError(
            f"both parts of {data} must have the same classes, but they differ; choose other parts."
        )
    classes = len(np.unique(images.known.labels)) if len(images.known) else 0
    if classes < 2:
        raise ValueError(
            f"{data} must have labelled images of at least two classes to compare by, but has {classes}; take "
            "other data."
        )
    if len(images.known) < limits.neighbours:
        raise ValueError(
            f"there must be at least as many known images as neighbours, but {data} has {len(images.known)} and "
            f"{limits.neighbours} are asked; ask fewer."
        )


def _source(data: str, split: str) -> ImageSource | None:
    try:
        return open_source(data, split=split)
    except (ValueError, FileNotFoundError):
        return None


def _halves(source: ImageSource, seed: int) -> tuple[ImageSource, ImageSource]:
    """Both have as many of each class as the labelled images allow."""
    labels = _labels(source)
    rows = np.flatnonzero(labels >= 0)
    first = rows[evenly(labels[rows], len(rows) // 2, seed)]
    return ChosenImages(source, first.tolist()), ChosenImages(source, np.setdiff1d(rows, first).tolist())


def _chosen(source: ImageSource, most: int, seed: int) -> ImageSource:
    """At most so many of its labelled images, spread evenly over the classes."""
    labels = _labels(source)
    rows = np.flatnonzero(labels >= 0)
    labelled = source if len(rows) == len(labels) else ChosenImages(source, rows.tolist())
    return choose_evenly(labelled, most, seed=seed)


def _labels(source: ImageSource) -> np.ndarray:
    return np.array([-1 if label is None else label for label in source.labels()], dtype=np.int64)


def _as_seen(
    parts: Sequence[ImageSource], size: tuple[int, int], crop_fraction: float
) -> tuple[tuple[int, int], float]:
    """Their own size, uncropped, where a few images from all over both parts share it and it is smaller."""
    natural = {
        tuple(part.get(int(row)).image.shape[-2:])
        for part in parts
        if len(part)
        for row in np.linspace(0, len(part) - 1, min(LOOKED_AT, len(part))).round()
    }
    if len(natural) != 1:
        return size, crop_fraction
    ((height, width),) = natural
    smaller = min(size[0], height), min(size[1], width)
    return (size, crop_fraction) if smaller == size else (smaller, 1.0)


def _rows(images: DecodedImages, rows: np.ndarray) -> DecodedImages:
    return replace(
        images,
        images=images.images[rows],
        labels=images.labels[rows],
        ids=tuple(images.ids[row] for row in rows),
        boxes=None if images.boxes is None else images.boxes[rows],
        masks=None if images.masks is None else images.masks[rows],
    )


def _called(specs: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    if not specs or len(set(specs)) < len(specs):
        raise ValueError(f"name at least one specimen, and each once, but got {list(specs)}.")
    called = {spec: names.get(spec) or (Path(parse(spec)[1]).name or spec) for spec in specs}
    if len(set(called.values())) < len(called):
        called = {spec: names.get(spec) or spec for spec in specs}
    if len(set(called.values())) < len(called) or PIXELS in called.values():
        raise ValueError(
            f"specimens must have names of their own, but got {list(called.values())}; give others."
        )
    return called


def _subjects(
    learnt: Mapping[str, Specimen],
    called: Mapping[str, str],
    images: Images,
    *,
    has_floors: bool,
    seed: int,
    device: str,
) -> tuple[tuple[Subject, ...], dict[str, Specimen]]:
    """Who is asked, and the features of each; architectures that several share have one floor."""
    subjects: list[Subject] = []
    floors: dict[str, Subject] = {}
    backbones: dict[str, Specimen] = {}
    twins: dict[str, str] = {}
    for spec, name in called.items():
        specimen = learnt[name]
        own = backbone(specimen)
        twin = None
        if has_floors:
            shape = _shape(own)
            if shape not in twins:
                random = backbone(fresh(spec, seed=seed, device=device))
                twins[shape] = f"random weights of {name}"
                backbones[twins[shape]] = replace(random, name=twins[shape])
                floors[twins[shape]] = _subject(backbones[twins[shape]], "random", "none", None)
            twin = twins[shape]
        backbones[name] = replace(own, name=name)
        subjects.append(_subject(backbones[name], "learnt", way_of(specimen, spec), twin))
    if has_floors:
        height, width = images.asked.images.shape[-2:]
        backbones[PIXELS] = pixels((min(height, 32), min(width, 32)))
        floors[PIXELS] = _subject(backbones[PIXELS], "pixels", "none", None)
    return (*subjects, *floors.values()), backbones


def _subject(specimen: Specimen, role: str, way: str, twin: str | None) -> Subject:
    height, width = specimen.image_size
    with torch.no_grad():
        num = specimen.predict(torch.zeros(1, 3, height, width)).flatten(1).shape[1]
    return Subject(specimen.name, role, way, twin, str(specimen.facts["features"]), num)  # pyright: ignore[reportArgumentType]


def _shape(specimen: Specimen) -> str:
    """What two models of the same architecture have in common."""
    state = specimen.model.state_dict()
    about = [(name, tuple(tensor.shape)) for name, tensor in state.items()]
    return repr((about, specimen.layout, specimen.image_size, specimen.mean, specimen.std))


def _values(
    subjects: Sequence[Subject],
    backbones: Mapping[str, Specimen],
    images: Images,
    other: Images | None,
    limits: Limits,
    seed: int,
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    """All answers, and why some are missing."""
    values: list[Value] = []
    notes: list[str] = []
    shapes: dict[str, ShapeBias] = {}
    asked_for = _asked_for(limits)
    seen = images.asked.take(limits.attention, seed) if limits.attention else None
    unseen: list[str] = []
    with progress("asking ways of learning", len(subjects)) as advance:
        for subject in subjects:
            one = Asked(backbones[subject.name], images, limits, seed)
            for measure in asked_for:
                with _noting(measure, subject.name, notes):
                    values.append(_value(measure, subject.name, SIMPLE[measure](one), seed))
            if limits.few:
                with _noting("shape share", subject.name, notes):
                    shapes[subject.name] = shape_answers(one)
            if other is not None:
                there = Asked(backbones[subject.name], other, limits, seed)
                with _noting("transfer", subject.name, notes):
                    values.append(_value("transfer", subject.name, SIMPLE["linear probe"](there), seed))
            if seen is not None:
                with _noting("attention", subject.name, notes):
                    found = attention_samples(backbones[subject.name], seen)
                    values += [_value(name, subject.name, samples, seed) for name, samples in found.items()]
                    unseen += [] if found else [subject.name]
            advance(1)
    values += _shape_values(shapes)
    if unseen:
        notes.append(
            f"attention was not looked at where there is none between tokens of one grid: {', '.join(unseen)}"
        )
    notes += _of_readouts(subjects, backbones) if seen is not None else []
    return tuple(values), tuple(dict.fromkeys(notes))


@contextmanager
def _noting(measure: str, name: str, notes: list[str]) -> Iterator[None]:
    """One question that cannot be asked leaves a note and ends nothing else."""
    try:
        yield
    except ValueError as error:
        notes.append(f"{measure} of {name} was not asked: {error}")


def _of_readouts(subjects: Sequence[Subject], backbones: Mapping[str, Specimen]) -> list[str]:
    """That attention of unlike read-outs is not the same thing, where it is so."""
    layouts = {one.name: backbones[one.name].layout for one in subjects if one.role == "learnt"}
    by_readout: dict[str, list[str]] = {}
    for name, layout in layouts.items():
        if layout is not None:
            by_readout.setdefault("class token" if layout.readout == "class_token" else "patches", []).append(
                name
            )
    if len(by_readout) < 2:
        return []
    told = "; ".join(f"the {what} of {', '.join(names)}" for what, names in by_readout.items())
    return [
        f"attention spread, and attention on the object, are of what is read, which is not the same in all: {told}"
    ]


def _asked_for(limits: Limits) -> list[str]:
    """Simple measures that the limits leave."""
    off = {
        "few-shot": not limits.shots,
        "attacked": not (limits.epsilon and limits.few),
        "corrupted": not (limits.corruptions and limits.few),
    }
    return [measure for measure in SIMPLE if not off.get(measure, False)]


def _value(measure: str, subject: str, samples: np.ndarray, seed: int) -> Value:
    """The mean with Wilson's interval where every image is right or wrong, else with the bootstrap's."""
    if np.isin(samples, (0, 1)).all():
        interval = wilson(int(samples.sum()), len(samples))
    else:
        interval = bootstrap_mean(samples, seed=seed)
    return Value(measure, subject, interval, samples)


def _shape_values(shapes: Mapping[str, ShapeBias]) -> list[Value]:
    """Shape shares of whoever decided by shape or texture at all."""
    shares = {name: found.share(found.specimens[0]) for name, found in shapes.items()}
    decided = {name: share for name, share in shares.items() if share.n > 0}
    if not decided:
        return []
    common = sum(share.value * share.n for share in decided.values()) / sum(
        share.n for share in decided.values()
    )
    return [
        Value("shape share", name, share, shape_samples(shapes[name], common))
        for name, share in decided.items()
    ]


def differences_of(
    subjects: Sequence[Subject], values: Sequence[Value], reference: str, seed: int
) -> tuple[Difference, ...]:
    """Every learnt subject against the reference, its twin and pixels, in every measure both have."""
    by_place = {(value.measure, value.subject): value for value in values}
    asked: list[tuple[Value, Value, str]] = []
    for subject in subjects:
        if subject.role != "learnt":
            continue
        others = [("reference", reference), ("random", subject.twin), ("pixels", PIXELS)]
        for measure in dict.fromkeys(value.measure for value in values):
            own = by_place.get((measure, subject.name))
            for against, name in others:
                second = by_place.get((measure, name)) if name else None
                if own is not None and second is not None and own is not second:
                    asked.append((own, second, against))
    p_values = np.array([_p_value(own, second, len(asked), seed) for own, second, _ in asked])
    holm = corrected(p_values) if asked else p_values
    return tuple(
        Difference(
            own.measure,
            own.subject,
            second.subject,
            against,
            _apart(own, second, seed),
            float(p),
            float(corrected_p),
        )
        for (own, second, against), p, corrected_p in zip(asked, p_values, holm, strict=True)
    )


def _p_value(own: Value, second: Value, num_asked: int, seed: int) -> float:
    apart = (own.samples - second.samples)[:, None]
    return float(sign_flip_test(apart, seed=seed, flips=max(9_999, 40 * num_asked))[0])


def _apart(own: Value, second: Value, seed: int) -> Interval:
    return paired_bootstrap(own.samples, second.samples, seed=seed)
