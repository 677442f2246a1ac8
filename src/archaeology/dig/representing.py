"""What the layers of the two models of a dig know: the survey of representations on some of its images.

Layers are read with the labels of the data alone, so that it does not matter whether the models name the same classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from archaeology.core.names import plural
from archaeology.core.storage import sha256_of
from archaeology.dig.budget import affordable
from archaeology.dig.config import DigConfig
from archaeology.dig.labels import ClassMatch
from archaeology.dig.parts import Parts
from archaeology.dig.robustness import keeper
from archaeology.dig.survey import Images, Predictions
from archaeology.represent.features import FORMAT
from archaeology.represent.survey import FEWEST, SCHEMA_VERSION, represent
from archaeology.specimens.specimen import Specimen

# What it may cost where nobody says how many images to take, in multiply-adds: minutes on two CPU cores.
BUDGET = {"cpu": 1.6e13, "cuda": 1.6e15}
PASSES_OF_AN_IMAGE = 6  # of each model: two or three readouts, a look at the first image, and the patches
MOST = 400


@dataclass(frozen=True)
class Represented:
    """What a dig found out about the layers of its models.

    Attributes:
        document: The survey's; None where nothing was measured.
        reason: Why nothing was.
    """

    document: dict[str, Any] | None
    reason: str = ""


def represent_count(config: DigConfig, specimens: Mapping[str, Specimen], *, available: int) -> int:
    """How many images to look at: as asked, else what the budget allows, at most 400; 0 below 8."""
    if config.represent_images is not None:
        return min(config.represent_images, available)
    quick = min(affordable(BUDGET, PASSES_OF_AN_IMAGE, *specimens.values()), MOST, available)
    return 0 if quick < FEWEST else quick


def represent_both(
    specimens: Mapping[str, Specimen],
    prints: Mapping[str, str],
    answers: Mapping[str, Predictions],
    matches: Mapping[str, ClassMatch],
    images: Images,
    parts: Parts,
    config: DigConfig,
) -> Represented:
    """The survey of both models on some of the images, with what was finished before found again."""
    count = represent_count(config, specimens, available=len(images))
    if count < FEWEST:
        return Represented(None, _why_not(config, len(images)))
    rows = images.spread(count, config.seed)
    chosen = images.only(rows)
    decoded = chosen.decoded
    right = {
        one.name: found
        for role, one in specimens.items()
        if (found := _right(answers[role], matches[role], images, rows)) is not None
    }
    boxes = None if decoded.boxes is None else shares_of(decoded.boxes, decoded.images.shape[-2:])
    facts = [array.tobytes() for array in (decoded.labels, boxes, *right.values()) if array is not None]
    told = (sha256_of(*facts), repr(decoded.classes), sha256_of(*decoded.ids))
    known = (*prints.values(), chosen.key(slice(None)), *told, str(config.seed), f"{FORMAT} {SCHEMA_VERSION}")
    try:
        document = represent(
            list(specimens.values()),
            decoded,
            decoded.labels if (decoded.labels >= 0).any() else None,
            classes=decoded.classes,
            names=decoded.ids,
            boxes=boxes,
            right=right,
            seed=config.seed,
            keep=keeper(parts, known, count, stage="represent"),
        )
    except ValueError as error:  # a model without layers that can be told, or too many copies
        return Represented(None, str(error).rstrip("."))
    return Represented({**document, "roles": {role: one.name for role, one in specimens.items()}})


def shares_of(boxes: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Boxes in pixels as shares of width and height."""
    height, width = size
    return boxes.astype(np.float64) / np.array([width, height, width, height])


def _right(answers: Predictions, match: ClassMatch, images: Images, rows: list[int]) -> np.ndarray | None:
    """Whether a model is right about each of these images, see `right_about`."""
    return right_about(answers.prediction[rows], images.decoded.labels[rows], match)


def right_about(
    said: Int[np.ndarray, " image"], labels: Int[np.ndarray, " image"], match: ClassMatch
) -> Bool[np.ndarray, " image"] | None:
    """Whether answers are right, False where an image has no label; None where a model does not know the classes.

    `represent` leaves images without a label out of what it says of right and wrong.
    """
    has_label = labels >= 0
    if match.logit is None or not has_label.any():
        return None
    return (said == match.logit[labels]) & has_label


def _why_not(config: DigConfig, available: int) -> str:
    if available < FEWEST:
        were = "was" if available == 1 else "were"
        return f"there {were} only {plural(available, 'image')}, and at least {FEWEST} are needed"
    if config.represent_images is not None:
        return f"represent_images was {config.represent_images}, and at least {FEWEST} are needed"
    return (
        "reading every layer of models of this size on this device takes long, so it is done when asked for: dig with "
        "--represent-images 64"
    )
