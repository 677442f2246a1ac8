"""Why the two models of a dig fail: causes that could be named are asked for on its images, and kept when done.

Without labels that both models know nothing can fail, so nothing is asked, and the document says so. How many images
are taken follows from what the models cost, unless somebody says how many.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

from archaeology.core.pictures import png_text
from archaeology.core.storage import json_text, sha256_of
from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.open import open_source
from archaeology.data.source import ImageSource
from archaeology.dig.budget import affordable
from archaeology.dig.config import DigConfig
from archaeology.dig.labels import ClassMatch, why_no_errors
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images
from archaeology.failures.causes import find_causes
from archaeology.specimens.reordered import reordered
from archaeology.specimens.specimen import Specimen

VERSION = 4  # raise it whenever the same images and models would give other numbers
BUDGET = {
    "cpu": 4e12,
    "cuda": 4e14,
}  # multiply-adds where nobody says how many images: a minute on two CPU cores
PASSES_OF_AN_IMAGE = 8  # of each model: once as it is, and changed where an association was found
FEWEST, MOST = 50, 2000
LARGEST = 96  # pixels of a side of an example image


def causes_count(config: DigConfig, specimens: Mapping[str, Specimen], *, available: int) -> int:
    """How many images to ask about: as asked, else what the budget allows, at most 2,000; 0 below 50."""
    if config.causes_images is not None:
        return min(config.causes_images, available)
    quick = affordable(BUDGET, PASSES_OF_AN_IMAGE, *specimens.values())
    return 0 if quick < min(FEWEST, available) else min(quick, MOST, available)


def training_source(config: DigConfig) -> ImageSource | None:
    """What the models learned from, where the user says: its part for training, or all where it has no parts.

    Raises:
        ValueError: If there is no such data, or no such part.
    """
    if config.training_data is None:
        return None
    if config.training_split is not None:
        return open_source(config.training_data, split=config.training_split)
    try:
        return open_source(config.training_data, split="train")
    except ValueError:
        with suppress(ValueError):
            whole = open_source(config.training_data)
            if whole.split is None:
                return whole
        raise  # it has parts, and none is called so


def causes_of_both(
    specimens: Mapping[str, Specimen],
    prints: Mapping[str, str],
    matches: Mapping[str, ClassMatch],
    images: Images,
    parts: Parts,
    config: DigConfig,
    training: ImageSource | None = None,
) -> dict[str, Any] | None:
    """The document of `causes.json`; None where it was switched off.

    It is that of `Causes.describe` with the names of the models by `roles`; or only the `reason` why nothing was asked.
    """
    if config.causes_images == 0:
        return None
    reason = why_no_errors(
        {specimens[role].name: match for role, match in matches.items()}, images.decoded.labels
    )
    if reason:
        return {"reason": reason}
    count = causes_count(config, specimens, available=len(images))
    if count < 2 or len(images.decoded.classes) < 2:
        return {"reason": _why_not(count, len(images), len(images.decoded.classes))}
    chosen = images.only(images.spread(count, config.seed))
    orders = {role: np.asarray(match.logit).tolist() for role, match in matches.items()}
    aligned = {role: reordered(one, orders[role]) for role, one in specimens.items()}
    labels = sha256_of(chosen.decoded.labels.tobytes(), *(repr(order) for order in orders.values()))
    objects = [array.tobytes() for array in (chosen.decoded.boxes, chosen.decoded.masks) if array is not None]
    known = (
        str(VERSION), *prints.values(), *(one.name for one in specimens.values()), chosen.key(slice(None)), labels,
        sha256_of(*chosen.decoded.ids, *objects), *chosen.decoded.classes, str(config.seed),
        "" if training is None else training.fingerprint,
    )  # fmt: skip

    def arrays() -> Arrays:
        predicts = {_called(role, specimens): one.predict for role, one in aligned.items()}
        learned = None if training is None else _learned(training, chosen.decoded, specimens, config)
        found = find_causes(chosen.decoded, predicts, training=learned, seed=config.seed).describe()
        if training is not None and learned is not None:
            found["training"] = {"name": training.name, "split": training.split, "n": len(learned)}
        found["roles"] = {role: _called(role, specimens) for role in specimens}
        found["classes"] = list(chosen.decoded.classes)
        found["labels"] = chosen.decoded.labels.tolist()
        found["pictures"] = pictures(found["causes"], chosen)
        return {"json": np.frombuffer(json_text(found).encode(), np.uint8)}

    return json.loads(parts.get("causes", known, count, arrays)["json"].tobytes())


def _learned(
    training: ImageSource, asked: DecodedImages, specimens: Mapping[str, Specimen], config: DigConfig
) -> DecodedImages:
    """What the models were trained on, cut as the images asked are, so that the same file has the same pixels."""
    size = (asked.images.shape[-2], asked.images.shape[-1])
    return decode_once(training, size, crop_fraction=specimens["vit"].crop_fraction, skip_bad=config.skip_bad)


def pictures(named: Sequence[Mapping[str, Any]], images: Images) -> dict[str, str]:
    """Example images of the causes by row, as PNG files in base64, no larger than they are shown."""
    rows = sorted({row for one in named for row in one["examples"]})
    found = {}
    for row in rows:
        picture = Image.fromarray(np.moveaxis(np.asarray(images.decoded.images[row]), 0, -1))
        found[str(row)] = png_text(np.asarray(picture.reduce(-(-max(picture.size) // LARGEST))))
    return found


def _called(role: str, specimens: Mapping[str, Specimen]) -> str:
    """The name of a model; with its role where both are called the same."""
    names = [one.name for one in specimens.values()]
    return specimens[role].name if len(set(names)) == len(names) else f"{specimens[role].name} ({role})"


def _why_not(count: int, available: int, num_classes: int) -> str:
    if num_classes < 2:
        return f"there must be at least two classes to confuse, but the data has {num_classes}"
    if available < 2:
        return f"there was only {available} image"
    if count:
        return "at least 2 images are needed"
    return "models of this size on this device take long, so it is done when asked for: dig with --causes-images 200"
