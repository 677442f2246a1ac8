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

from archaeology.core.errors import SelfCheckError
from archaeology.core.intervals import Interval, bootstrap_mean, mean_over_draws, paired_bootstrap, wilson
from archaeology.core.many import corrected, sign_flip_test
from archaeology.core.progress import progress
from archaeology.data.decoded import DecodedImages
from archaeology.dig.learning_images import Images, notes_of, open_images
from archaeology.dig.learning_measures import (
    ATTENTION,
    SIMPLE,
    Asked,
    Limits,
    attention_samples,
    shape_answers,
    shape_samples,
)
from archaeology.dig.learning_result import Difference, LearningComparison, Subject, Value
from archaeology.represent.backbone import PIXELS, backbone, pixels
from archaeology.represent.probe import FewShot
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
Unasked = list[tuple[str, str, str]]  # measure, subject, reason


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
    skip_bad: bool = False,
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
        skip_bad: Whether images that cannot be read are left out, and counted in a note, instead of ending all.
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

    def opened(data: str, split: str | None, known_split: str | None) -> Images:
        return open_images(
            data,
            split,
            known_split,
            (height, width),
            limits,
            seed,
            crop_fraction=kept,
            skip_bad=skip_bad,
        )

    images = opened(data, split, known_split)
    other = None if transfer is None else opened(transfer, None, None)
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
        notes=(
            *notes_of(images, limits, seed, data),
            *(() if other is None else notes_of(other, limits, seed, str(transfer))),
            *notes,
        ),
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
    unasked: Unasked = []
    shapes: dict[str, ShapeBias] = {}
    asked_for = _asked_for(limits)
    seen = images.asked.take(limits.attention, seed) if limits.attention else None
    unseen: list[str] = []
    with progress("asking ways of learning", len(subjects)) as advance:
        for subject in subjects:
            one = Asked(backbones[subject.name], images, limits, seed)
            for measure in asked_for:
                with _noting(measure, subject.name, unasked):
                    values.append(_value(measure, subject.name, SIMPLE[measure](one), seed))
            if limits.few:
                with _noting("shape share", subject.name, unasked):
                    shapes[subject.name] = shape_answers(one)
            if other is not None:
                there = Asked(backbones[subject.name], other, limits, seed)
                with _noting("transfer", subject.name, unasked):
                    values.append(_value("transfer", subject.name, SIMPLE["linear probe"](there), seed))
            if seen is not None:
                with _noting("attention", subject.name, unasked):
                    found = attention_samples(backbones[subject.name], seen)
                    values += [_value(name, subject.name, samples, seed) for name, samples in found.items()]
                    unseen += [] if found else [subject.name]
            advance(1)
    values += _shape_values(shapes)
    notes += _told(unasked)
    if undecided := [name for name, found in shapes.items() if found.share(found.specimens[0]).n == 0]:
        notes.append(
            f"shape share is not given for {', '.join(undecided)}: no image was named by its shape or by its texture"
        )
    if unseen:
        notes.append(
            f"attention was not looked at where there is none between tokens of one grid: {', '.join(unseen)}"
        )
    if seen is not None:
        notes += [*_of_objects(seen, values), *_of_readouts(subjects, backbones)]
    return tuple(values), tuple(dict.fromkeys(notes))


@contextmanager
def _noting(measure: str, name: str, unasked: Unasked) -> Iterator[None]:
    """One question that cannot be asked leaves a note and ends nothing else."""
    try:
        yield
    except (ValueError, SelfCheckError) as error:
        unasked.append((measure, name, str(error)))


def _told(unasked: Unasked) -> list[str]:
    """A note for each measure and reason, with all whom it concerns."""
    names: dict[tuple[str, str], list[str]] = {}
    for measure, name, reason in unasked:
        names.setdefault((measure, reason), []).append(name)
    return [
        f"{measure} of {', '.join(who)} was not asked: {reason}" for (measure, reason), who in names.items()
    ]


def _of_objects(seen: DecodedImages, values: Sequence[Value]) -> list[str]:
    """How many images the attention on the object is of, where not of all."""
    counts = {len(value.samples) for value in values if value.measure == "on the object"}
    return [
        f"attention on the object is of the {count} of {len(seen)} images whose object is marked"
        for count in counts
        if count < len(seen)
    ]


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


def _value(measure: str, subject: str, samples: np.ndarray | FewShot, seed: int) -> Value:
    """The mean with Wilson's interval where every image is right or wrong, else the bootstrap's, or that of draws."""
    if isinstance(samples, FewShot):
        return Value(measure, subject, samples.accuracy[0], samples.by_image[0], samples.draws[0])
    if measure not in ATTENTION and np.isin(samples, (0, 1)).all():
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
    found = [_apart(own, second, len(asked), seed) for own, second, _ in asked]
    p_values = np.array([p for _, p in found])
    holm = corrected(p_values) if asked else p_values
    return tuple(
        Difference(own.measure, own.subject, second.subject, against, interval, p, float(p_corrected))
        for (own, second, against), (interval, p), p_corrected in zip(asked, found, holm, strict=True)
    )


def _apart(own: Value, second: Value, num_asked: int, seed: int) -> tuple[Interval, float]:
    """The paired difference, and how often chance would give as much."""
    apart = own.samples - second.samples
    if own.draws is not None and second.draws is not None:
        return mean_over_draws(own.draws - second.draws, apart)
    p_value = sign_flip_test(apart[:, None], seed=seed, flips=max(9_999, 40 * num_asked))[0]
    return paired_bootstrap(own.samples, second.samples, seed=seed), float(p_value)
