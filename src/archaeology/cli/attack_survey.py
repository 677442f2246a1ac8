"""What `archaeology attack` does between the words and the page: load, survey, draw, keep."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from archaeology.attacks import attacks
from archaeology.core.provenance import provenance
from archaeology.core.storage import sha256_of, write_json
from archaeology.data.cache import decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.data.open import open_source
from archaeology.dig.labels import match_classes
from archaeology.dig.parts import Parts
from archaeology.dig.robustness import keeper
from archaeology.figures import Drawing, figures, save_figure
from archaeology.report.robustness import ROBUSTNESS_FIGURES
from archaeology.robustness.survey import Depth, chosen_parts, survey_robustness
from archaeology.specimens.load import load
from archaeology.specimens.reordered import reordered
from archaeology.specimens.specimen import Specimen

if TYPE_CHECKING:
    from archaeology.cli.attack import AttackArguments


@dataclass(frozen=True)
class Surveyed:
    """What figures of robustness are drawn from."""

    robustness: Mapping[str, Any]


def surveyed(arguments: "AttackArguments", sizes: list[float] | None, size: float) -> dict[str, Any]:
    """The document of the survey, kept as `robustness.json` with its figures beside it.

    A survey that was stopped goes on where it was, part by part.

    Args:
        arguments: As given.
        sizes: Epsilons of the curves; None for customary ones.
        size: Epsilon where a part attacks once.

    Raises:
        ValueError: If names, sizes, classes or data do not fit.
    """
    for name in arguments.attacks:
        attacks.get(name)
    follows = ("gradients_l2",) if "gradients" in arguments.parts and arguments.norm == "l2" else ()
    wanted = chosen_parts((*arguments.parts, *follows))
    specimens = [load(name, device=arguments.device) for name in dict.fromkeys(arguments.specimens)]
    chosen = choose_evenly(
        open_source(arguments.data, split=arguments.split), arguments.images, seed=arguments.seed
    )
    largest = max(specimens, key=lambda one: one.image_size)
    images = decode_once(
        chosen, largest.image_size, crop_fraction=largest.crop_fraction, skip_bad=arguments.skip_bad
    )
    aligned = [in_order(one, images.classes, images.labels) for one in specimens]
    settings = arguments.model_dump(mode="json", exclude={"out", "json_", "device", "parts"})
    key = sha256_of(
        repr(sorted(settings.items())), *(one.fingerprint() for one in specimens), images.fingerprint
    )
    folder = arguments.out or Path("runs") / "attack" / key[:8]
    document = survey_robustness(
        aligned,
        torch.from_numpy(np.array(images.images)),
        torch.from_numpy(images.labels.copy()).long(),
        names=images.ids,
        wanted=wanted,
        attacks=[(name, arguments.norm) for name in arguments.attacks],
        epsilon=size,
        epsilons=sizes,
        depth=Depth().scaled(len(images)),
        seed=arguments.seed,
        keep=keeper(Parts(folder / "parts"), (key,), len(images), strict=("curves",)),
    )
    files = [str(file) for drawing, data in drawn(document) for file in save(drawing, data, folder)]
    document |= {
        "settings": settings,
        "skipped": [list(each) for each in images.skipped],
        "provenance": provenance(arguments.seed),
        "files": [*files, str(folder / "robustness.json")],
    }
    write_json(folder / "robustness.json", document)
    return document


def in_order(specimen: Specimen, classes: tuple[str, ...], labels: np.ndarray) -> Specimen:
    """The specimen with its classes numbered as those of the data.

    Raises:
        ValueError: If images have no labels, or the model does not know their classes; says which.
    """
    if (labels < 0).any():
        raise ValueError(
            "an attack needs to know what is right, so every image needs a label, but some have none; put the images "
            "of each class into a folder of its name."
        )
    match = match_classes(classes, specimen.classes)
    if match.logit is None:
        raise ValueError(f"an attack needs to know what is right, but for {specimen.name}, {match.reason}.")
    if len(set(match.logit.tolist())) < len(match.logit):
        raise ValueError(
            f"every class of the data must be another one for {specimen.name}, but two are the same; rename one."
        )
    return reordered(specimen, match.logit.tolist())


def drawn(document: Mapping[str, Any]) -> Iterator[tuple[Drawing[Any, Any], Any]]:
    """Every figure that the document has numbers for, with these."""
    source = Surveyed(document)
    for name in ROBUSTNESS_FIGURES:
        drawing = figures.get(name)
        numbers = drawing.compute(source)
        if numbers is not None:
            yield drawing, numbers


def save(drawing: Drawing[Any, Any], numbers: Any, folder: Path) -> tuple[Path, ...]:
    """The figure as files of its name."""
    return save_figure(drawing.draw(numbers), folder, drawing.name)
