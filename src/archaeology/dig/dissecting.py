"""Failures of the two models of a dig taken apart: how sure, of which kind, in which slices, looking where, mended how.

Calibration is read off the answers that the dig has anyway. The rest asks the models about some of the images again, as
many as are quick or as somebody asks for. Slices of one model's failures are found in the other model's features, since
its own already hold its answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archaeology.core.storage import plain_json
from archaeology.dig.budget import affordable
from archaeology.dig.config import DigConfig
from archaeology.dig.dissecting_answers import calibrated, case_of
from archaeology.dig.dissecting_work import Work
from archaeology.dig.judging import Judged
from archaeology.dig.labels import ClassMatch, why_no_errors
from archaeology.dig.maps import Named
from archaeology.dig.parts import Parts
from archaeology.dig.survey import Images, Predictions
from archaeology.specimens.specimen import Specimen

BUDGET = {
    "cpu": 8e12,
    "cuda": 8e14,
}  # multiply-adds where nobody says how many images: minutes on two CPU cores
PASSES_OF_AN_IMAGE = 20  # of each model: features, attention, a map, and hidden regions
FEWEST, MOST = 40, 400


@dataclass(frozen=True)
class Dissected:
    """What a dig found out about failures.

    Attributes:
        document: For `dissection.json`; None where nothing was measured.
        arrays: Pixels and maps of the images it names, with their dimensions; empty where none is named.
        reason: Why nothing was.
    """

    document: dict[str, Any] | None
    arrays: Named
    reason: str = ""


def dissection_count(config: DigConfig, specimens: Mapping[str, Specimen], *, available: int) -> int:
    """How many images to take apart: as asked, else what the budget allows, at most 400; 0 below 40."""
    if config.dissect_images is not None:
        return min(config.dissect_images, available)
    quick = affordable(BUDGET, PASSES_OF_AN_IMAGE, *specimens.values())
    return 0 if quick < min(FEWEST, available) else min(quick, MOST, available)


def dissect(
    specimens: Mapping[str, Specimen],
    prints: Mapping[str, str],
    matches: Mapping[str, ClassMatch],
    answers: Mapping[str, Predictions],
    judged: Mapping[str, Judged],
    images: Images,
    parts: Parts,
    config: DigConfig,
) -> Dissected:
    """Everything about the failures of both models, with what was finished before found again."""
    if config.dissect_images == 0:
        return Dissected(None, {}, "dissect_images was 0")
    reason = why_no_errors(
        {specimens[role].name: one for role, one in matches.items()}, images.decoded.labels
    )
    if reason:
        return Dissected(None, {}, reason)
    labels = np.asarray(images.decoded.labels).astype(np.int64)
    cases = {
        role: case_of(one, matches[role], answers[role].logits, labels) for role, one in specimens.items()
    }
    document: dict[str, Any] = {
        "n": len(images),
        "classes": list(images.decoded.classes),
        "roles": {role: one.name for role, one in specimens.items()},
        "seed": config.seed,
        "calibration": {role: calibrated(case, config.seed) for role, case in cases.items()},
        "missing": {},
    }
    count = dissection_count(config, specimens, available=len(images))
    if count < 2:
        reason = (
            f"taking failures apart needs at least 2 images, but there are {len(images)} and {count} were taken"
            if config.dissect_images is not None or len(images) < 2
            else "asking models of this size again takes long, so it is done when asked for: dig with "
            "--dissect-images 200"
        )
        document["missing"]["kinds of failure"] = reason
        return Dissected(plain_json(document), {})
    rows = images.spread(count, config.seed)
    chosen = images.only(rows)
    some = {role: case.only(rows) for role, case in cases.items()}
    work = Work(some, prints, judged, chosen, parts, config, document["missing"])
    found, arrays = work.all()
    document |= {"dissected": count, **found}
    arrays = {name: (array, dims) for name, (array, dims) in arrays.items()}
    document = _renumbered(plain_json(document), rows)
    if arrays:
        arrays["row"] = (
            np.array([rows[row] for row in arrays["row"][0].tolist()], dtype=np.int64),
            ("image",),
        )
    return Dissected(document, arrays)


def _renumbered(document: Any, rows: list[int]) -> Any:
    """The document with rows of all images of the dig in place of rows of those taken apart."""
    if isinstance(document, Mapping):
        made = {name: _renumbered(value, rows) for name, value in document.items()}
        if "examples" in document:
            made["examples"] = [rows[row] for row in document["examples"]]
        if "pairs" in document:
            made["pairs"] = [[rows[row] for row in pair] for pair in document["pairs"]]
        if "row" in document:
            made["row"] = rows[document["row"]]
        return made
    return [_renumbered(value, rows) for value in document] if isinstance(document, list) else document
