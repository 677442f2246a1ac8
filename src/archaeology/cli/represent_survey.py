"""What `archaeology represent` does between the words and the page: load, ask, draw, keep."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from archaeology.core.provenance import provenance
from archaeology.core.storage import sha256_of, write_json
from archaeology.data.cache import decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.data.decoded import DecodedImages
from archaeology.data.open import open_source
from archaeology.dig.labels import match_classes
from archaeology.dig.parts import Parts
from archaeology.dig.representing import right_about, shares_of
from archaeology.dig.robustness import keeper
from archaeology.figures import Drawing, figures, save_figure
from archaeology.figures._representation import readout_text
from archaeology.figures._robustness import ends_of, short_name
from archaeology.figures.drawing import DataTable
from archaeology.figures.layer_similarity import LayerSimilarity
from archaeology.figures.words import NOT_KNOWN
from archaeology.report.representation import REPRESENTATION_FIGURES
from archaeology.represent.features import FORMAT
from archaeology.represent.projections import projections
from archaeology.represent.survey import SCHEMA_VERSION, represent
from archaeology.represent.survey_parts import part_names
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

if TYPE_CHECKING:
    from archaeology.cli.represent import RepresentArguments

DOCUMENT = "representation.json"


@dataclass(frozen=True)
class Surveyed:
    """What figures of layers are drawn from."""

    representation: Mapping[str, Any]


def surveyed(arguments: "RepresentArguments") -> dict[str, Any]:
    """The document of the survey, kept as `representation.json` with its figures beside it.

    A survey that was stopped goes on where it was, part by part.

    Raises:
        UnknownNameError: If there is no such part, layer or map; suggests the nearest.
        ValueError: If models or data do not fit.
    """
    wanted = part_names(None if "all" in arguments.parts else arguments.parts)
    for name in arguments.maps:
        projections.get(name)
    specs = [arguments.model] + ([] if arguments.other is None else [arguments.other])
    specimens = [load(spec, device=arguments.device) for spec in specs]
    if len({one.name for one in specimens}) < len(specimens):
        raise ValueError(
            f"--other must be another model than MODEL, but both are {specimens[0].name}; leave it out to compare a "
            "model with itself."
        )
    named = dict(
        zip((one.name for one in specimens), (arguments.layers, arguments.other_layers), strict=False)
    )
    largest = max(specimens, key=lambda one: one.image_size)
    chosen = choose_evenly(
        open_source(arguments.data, split=arguments.split), arguments.images, seed=arguments.seed
    )
    images = decode_once(
        chosen, largest.image_size, crop_fraction=largest.crop_fraction, skip_bad=arguments.skip_bad
    )
    settings = arguments.model_dump(mode="json", exclude={"out", "json_", "device", "parts"})
    key = sha256_of(
        repr(sorted(settings.items())),
        *(one.fingerprint() for one in specimens),
        images.fingerprint,
        f"{FORMAT} {SCHEMA_VERSION}",
    )
    folder = arguments.out or Path("runs") / "represent" / key[:8]
    document = represent(
        specimens,
        images,
        images.labels if (images.labels >= 0).any() else None,
        classes=images.classes,
        names=images.ids,
        boxes=None if images.boxes is None else shares_of(images.boxes, images.images.shape[-2:]),
        right={one.name: found for one in specimens if (found := right_of(one, images)) is not None},
        layers={name: paths for name, paths in named.items() if paths},
        wanted=wanted,
        maps=arguments.maps,
        seed=arguments.seed,
        keep=keeper(Parts(folder / "parts"), (key,), len(images), stage="represent"),
    )
    files = [
        str(file)
        for drawing, data in drawn(document)
        for file in save_figure(drawing.draw(data), folder, drawing.name)
    ]
    document |= {
        "settings": settings,
        "skipped": [list(each) for each in images.skipped],
        "provenance": provenance(arguments.seed),
        "files": [*files, str(folder / DOCUMENT)],
    }
    write_json(folder / DOCUMENT, document)
    return document


@torch.inference_mode()
def right_of(specimen: Specimen, images: DecodedImages) -> np.ndarray | None:
    """Whether the model's own answer to each image is right; None where it does not know their classes."""
    match = match_classes(images.classes, specimen.classes)
    if match.logit is None:
        return None
    said = [specimen.predict(batch).argmax(dim=1).cpu().numpy() for batch, _, _ in images.batches(50)]
    return right_about(np.concatenate(said), images.labels, match)


def drawn(document: Mapping[str, Any]) -> Iterator[tuple[Drawing[Any, Any], Any]]:
    """Every figure that the document has numbers for, with these."""
    source = Surveyed(document)
    for name in REPRESENTATION_FIGURES:
        drawing = figures.get(name)
        numbers = drawing.compute(source)
        if numbers is not None:
            yield drawing, numbers


def table_of_layers(document: Mapping[str, Any]) -> DataTable:
    """One row for each model, readout and layer: neighbours, probe, and the layer of the other model most like it."""
    reading = document.get("reading") or {}
    ks = [int(k) for k in reading.get("ks") or ()]
    read = {
        (curve["specimen"], curve["readout"], row["layer"]): row
        for curve in reading.get("curves") or ()
        for row in curve["table"]
    }
    places = {
        (one["name"], "mean_patches", layer): {} for one in document["specimens"] for layer in one["layers"]
    }
    like = _most_like(document)
    several = len({readout for _, readout, _ in read}) > 1
    rows = []
    for key, row in (places | read).items():
        cells = [ends_of(row, f"knn_{k}").in_percent.text(0) for k in ks]
        probe = [ends_of(row, "probe").in_percent.text(0)] if read else []
        other = [like.get((key[0], key[2]), NOT_KNOWN) if key[1] == "mean_patches" else NOT_KNOWN]
        layer = f"{short_name(key[0])} {key[2]}{f', {readout_text(key[1])}' if several else ''}"
        rows.append((layer, *cells, *probe, *(other if like else ())))
    names = (*(f"k = {k} (%)" for k in ks), *(["Probe (%)"] if read else []))
    return DataTable(("Layer", *names, *(["Most like, CKA"] if like else ())), tuple(rows))


def _most_like(document: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """For each model and layer the layer of the other model that is most like it, with CKA."""
    numbers = figures.get("layer_similarity").compute(Surveyed(document))
    if not isinstance(numbers, LayerSimilarity):
        return {}
    found: dict[tuple[str, str], str] = {}
    for one in numbers.pairs[:1]:
        if one.is_within:
            continue
        known = np.where(np.isfinite(one.value), one.value, -1.0)
        for row, layer in enumerate(one.first_layers):
            at = int(known[row].argmax())
            found[one.first.name, layer] = f"{one.second_layers[at]} {one.at(row, at).text(2)}"
        for column, layer in enumerate(one.second_layers):
            at = int(known[:, column].argmax())
            found[one.second.name, layer] = f"{one.first_layers[at]} {one.at(at, column).text(2)}"
    return found
