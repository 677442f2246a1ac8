"""What `archaeology explain` keeps: the figure, the raw maps, and a document that says how to make them again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archaeology.cli.explain_image import Explained, class_name
from archaeology.core.provenance import provenance
from archaeology.core.storage import atomic_path, plain_json, sha256_of_file, write_json
from archaeology.data.source import Sample
from archaeology.figures import explanation_maps, save_figure

SCHEMA_VERSION = 1
NAME = "explanation"
NUM_ANSWERS = 10


def folders_for(images: Sequence[Path], out: Path | None) -> list[Path]:
    """A folder for each image: `out` itself for a single one, else one called like it, numbered where two are alike."""
    if out is not None and len(images) == 1:
        return [out]
    base = out if out is not None else Path("runs") / "explain"
    names: list[str] = []
    for path in images:
        name, again = path.stem, 2
        while name in names:
            name, again = f"{path.stem}-{again}", again + 1
        names.append(name)
    return [base / name for name in names]


def write_files(
    folder: Path, image: Path, sample: Sample, found: Sequence[Explained], specs: Sequence[str], seed: int
) -> dict[str, Any]:
    """Write `explanation.png`, `.svg`, `.npz` and `.json` into `folder`.

    Args:
        folder: Made where it is missing.
        image: The file explained.
        sample: Its pixels as they are.
        found: What was found, for each model.
        specs: How each model was named.
        seed: Of everything random.

    Returns:
        What the JSON file holds.
    """
    numbers = explanation_maps.compute([one.shown() for one in found])
    assert numbers is not None
    figure_files = save_figure(explanation_maps.draw(numbers), folder, NAME)
    arrays: dict[str, np.ndarray] = {}
    models = [
        model_document(one, spec, place, arrays)
        for place, (one, spec) in enumerate(zip(found, specs, strict=True))
    ]
    maps = folder / f"{NAME}.npz"
    with atomic_path(maps) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    path = folder / f"{NAME}.json"
    document = plain_json(
        {
            "schema_version": SCHEMA_VERSION,
            "headline": explanation_maps.headline(numbers),
            "image": {
                "file": str(image),
                "sha256": sha256_of_file(image),
                "height": sample.image.shape[1],
                "width": sample.image.shape[2],
            },
            "models": models,
            "maps": maps.name,
            "files": [str(file) for file in (*figure_files, maps, path)],
            "provenance": provenance(seed),
        }
    )
    write_json(path, document)
    return document


def model_document(one: Explained, spec: str, place: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Everything about one model's answer; the raw maps go into `arrays`, under keys that the document names.

    Args:
        one: What was found.
        spec: How the model was named.
        place: Number of the model, from 0: maps of two models need keys of their own.
        arrays: Gets the image as the model saw it, and the maps.
    """
    key = f"{place}/image"
    arrays[key] = one.trial.images[0].detach().float().cpu().numpy()
    return {
        "spec": spec,
        "specimen": one.specimen.describe(),
        "image": key,
        "answers": [
            {"class": number, "name": class_name(one.specimen, number), "probability": value}
            for number, value in one.likeliest(NUM_ANSWERS)
        ],
        "target": {"class": one.target, "name": class_name(one.specimen, one.target)},
        "is_answer": one.target == one.answer,
        "methods": {name: _method_document(one, name, place, arrays) for name in one.maps},
        "judges": {judge: _judge_document(one, judge) for judge in one.floor},
        "missing": dict(one.missing),
    }


def _method_document(one: Explained, name: str, place: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    found = one.maps[name]
    kept = {"heatmap": found.heatmap, "attribution": found.attribution}
    keys: dict[str, str] = {}
    for kind, values in kept.items():
        if values is not None:
            keys[kind] = f"{place}/{name}/{kind}"
            arrays[keys[kind]] = values[0].detach().float().cpu().numpy()
    return {
        "parameters": dict(found.parameters),
        "formula": found.formula,
        "looks_at_class": found.target is not None,
        "has_evidence": bool(found.has_evidence[0]),
        "facts": {fact: float(value[0]) for fact, value in found.facts.items()},
        "marks": {judge: float(marks.score[0]) for judge, marks in one.marks[name].items()},
        "maps": keys,
    }


def _judge_document(one: Explained, judge: str) -> dict[str, Any]:
    """What the judge computed, and what random maps get; parameters are the same for every method."""
    said = next((marks[judge] for marks in one.marks.values()), None)
    return {
        "parameters": {} if said is None else dict(said.parameters),
        "formula": "" if said is None else said.formula,
        "random_maps": list(one.floor[judge]),
        "known_chance": None if said is None or said.chance is None else float(said.chance[0]),
    }
