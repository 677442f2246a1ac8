"""A dig from images to a run directory: decode, predict, measure heads, ablate them, draw maps, write tables.

It is a function of images and weights: what is finished is found again by content (`parts.py`), so the same call after
a crash, or after `kill -9`, does only the rest. `run.json` is written last; its presence means complete.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from archaeology.capture.checks import check_capture
from archaeology.core.provenance import provenance
from archaeology.core.storage import read_json, sha256_of, write_arrays, write_json, write_table
from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.data.open import open_source
from archaeology.data.source import ImageSource
from archaeology.dig.ablation import ablations
from archaeology.dig.assemble import head_table, image_table, metric_table, verdict
from archaeology.dig.causes import causes_of_both, training_source
from archaeology.dig.config import DigConfig
from archaeology.dig.directory import SCHEMA_VERSION, RunDirectory
from archaeology.dig.dissecting import dissect
from archaeology.dig.findings import found_among, headline, questions
from archaeology.dig.judging import judge_methods
from archaeology.dig.labels import match_classes
from archaeology.dig.maps import draw_maps
from archaeology.dig.parts import Parts
from archaeology.dig.representing import represent_both
from archaeology.dig.results import marked
from archaeology.dig.robustness import survey_both
from archaeology.dig.survey import Images, predict, specialization
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from archaeology.stats.specialization import HeadSpecialization

# What names the inputs and outputs but not the numbers: a dig may go on with another value.
NOT_PART_OF_THE_RESULT = {"out", "device", "threads"}
FILES = ("folder", "parquet", "npz")  # sources whose name is a place on this machine


def dig(
    vit: str | Specimen = "bundled:vit_cue_conflict",
    cnn: str | Specimen = "bundled:convnet_cue_conflict",
    data: str | ImageSource = "cue_conflict",
    **options: Any,
) -> RunDirectory:
    """Compare a vision transformer with a CNN on the same images.

    Args:
        vit: The transformer, as a name that `load` takes or a specimen.
        cnn: The CNN, likewise.
        data: The images, as a name that `open_source` takes or a source.
        options: Fields of `DigConfig`, for example `images=500, out="runs/mine"`.

    Returns:
        The finished run directory; `write_report` makes its report.

    Raises:
        ValueError: If an option, a name or the data does not fit, or `out` holds a dig of others; says what to do.
        SelfCheckError: If the transformer's attention cannot be captured exactly.
    """
    names = {
        "vit": vit if isinstance(vit, str) else vit.name,
        "cnn": cnn if isinstance(cnn, str) else cnn.name,
        "data": data if isinstance(data, str) else data.name,
    }
    config = DigConfig.model_validate({**options, **names})
    return dig_config(config, vit=vit, cnn=cnn, data=data)


def dig_config(
    config: DigConfig,
    *,
    vit: str | Specimen | None = None,
    cnn: str | Specimen | None = None,
    data: str | ImageSource | None = None,
) -> RunDirectory:
    """The dig that `config` describes, with things already loaded in place of their names where given."""
    folder = claimed_folder(config)
    if (folder / "run.json").is_file():
        finished = RunDirectory(folder)
        given = {"vit": vit or config.vit, "cnn": cnn or config.cnn, "data": data or config.data}
        _check_same(finished, {role: _at_hand(thing, config.split) for role, thing in given.items()})
        return finished
    with _threads(config.threads):
        site = Site(folder, config, Log(folder / "log.txt"))
        specimens = {
            "vit": _specimen(vit or config.vit, config.device),
            "cnn": _specimen(cnn or config.cnn, config.device),
        }
        if specimens["vit"].kind != "transformer":
            raise ValueError(
                f"vit must be a transformer, but {specimens['vit'].name} is {specimens['vit'].kind}; "
                "name a model with attention, and the CNN with --cnn."
            )
        source = _source(data or config.data, config.split)
        excavate(site, specimens, source, training_source(config))
    return RunDirectory(folder)


def claimed_folder(config: DigConfig) -> Path:
    """The run directory of `config`, made and marked with it.

    Raises:
        ValueError: If the folder holds another dig, or something that is no dig.
    """
    wanted = config.model_dump(mode="json", exclude=NOT_PART_OF_THE_RESULT)
    key = sha256_of(repr(sorted(wanted.items())))[:8]
    slug = "-vs-".join(
        "".join(c if c.isalnum() else "-" for c in name.split(":")[-1]) for name in (config.vit, config.cnn)
    )
    folder = config.out or Path("runs") / f"{slug}-{key}"
    marker = folder / "config.json"
    if marker.is_file():
        found = {
            name: value for name, value in read_json(marker).items() if name not in NOT_PART_OF_THE_RESULT
        }
        different = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        if different:
            listed = ", ".join(
                f"{name} was {found.get(name)!r} and is {wanted.get(name)!r}" for name in different
            )
            raise ValueError(
                f"--out must be a new folder or that of the same dig, but {folder} holds a dig with other settings "
                f"({listed}); choose another --out, or remove the folder."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"--out must be a new or empty folder, but {folder} holds other things; choose another."
        )
    else:
        write_json(marker, config.model_dump(mode="json"))
    return folder


def _at_hand(given: str | Specimen | ImageSource, split: str | None) -> Specimen | ImageSource | None:
    """What a name stands for where files of this machine say so, and may say otherwise since; None for other names."""
    if not isinstance(given, str):
        return given
    kind = given.partition(":")[0]
    with suppress(
        OSError, ValueError
    ):  # files that are gone say nothing: the numbers are still there to be read
        if kind == "run":
            return load(given, device="cpu")
        if kind in FILES:
            return open_source(given, split=split)
    return None


def _check_same(finished: RunDirectory, given: dict[str, "Specimen | ImageSource | None"]) -> None:
    """Refuse to pass a finished dig off as one of other things under the same name, where the things are at hand.

    Raises:
        ValueError: If weights or data are others.
    """
    described = {**finished.run["models"], "data": finished.run["data"]}
    for role, thing in given.items():
        if thing is None:
            continue
        mark = thing.fingerprint() if isinstance(thing, Specimen) else thing.fingerprint
        if mark != described[role]["fingerprint"]:
            raise ValueError(
                f"a finished dig must be of the same {role}, but {finished.path} is of another {thing.name!r} "
                f"(fingerprint {described[role]['fingerprint'][:8]}, now {mark[:8]}); choose another out."
            )


@dataclass
class Log:
    """Lines with the time in `log.txt`, appended, so that a run and its continuation stand in one file."""

    path: Path

    def __call__(self, line: str) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")


@dataclass
class Site:
    """Where a dig works, what it was asked for, and how long each stage took in this process."""

    folder: Path
    config: DigConfig
    log: Log
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block and log when it begins and ends."""
        self.log(f"{name}: begins")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)
        self.log(f"{name}: done in {self.seconds[name]} s")


def excavate(
    site: Site, specimens: dict[str, Specimen], source: ImageSource, training: ImageSource | None = None
) -> None:
    """Everything between the models and `run.json`."""
    config, started = site.config, time.monotonic()
    vit, cnn = specimens["vit"], specimens["cnn"]
    record = provenance(config.seed)
    with site.stage("decode"):
        chosen = choose_evenly(source, config.images, seed=config.seed)
        images = Images.of(decoded_for(vit, cnn, chosen, skip_bad=config.skip_bad), config.batch_size)
        for name, reason in images.decoded.skipped:
            site.log(f"skipped {name}: {reason}")
    with site.stage("check"):
        check_capture(vit, images.tensor(slice(0, 2)))
        prints = {role: specimen.fingerprint() for role, specimen in specimens.items()}
        matches = {
            role: match_classes(images.decoded.classes, one.classes) for role, one in specimens.items()
        }
    parts = Parts(site.folder / "parts")
    with site.stage("predict"):
        answers = {role: predict(role, one, prints[role], images, parts) for role, one in specimens.items()}
        rows = image_table(images.decoded, images.hashes, answers, specimens, matches)
    with site.stage("heads"):
        sums = specialization(vit, prints["vit"], images, parts, seed=config.seed)
    with site.stage("ablate"):
        ablated = ablations(vit, prints["vit"], images, matches["vit"], answers["vit"], parts, config, sums)
    with site.stage("judge"):
        judged = {
            role: judge_methods(role, one, prints[role], images, parts, config)
            for role, one in specimens.items()
        }
    with site.stage("attack"):
        broken = survey_both(specimens, prints, matches, images, parts, config)
    with site.stage("causes"):
        causes = causes_of_both(specimens, prints, matches, images, parts, config, training)
    with site.stage("represent"):
        layered = represent_both(specimens, prints, answers, matches, images, parts, config)
    with site.stage("dissect"):
        apart = dissect(specimens, prints, matches, answers, judged, images, parts, config)
    with site.stage("maps"):
        shown = draw_maps(specimens, prints, judged, images, rows, parts, config)
    with site.stage("write"):
        heads = head_table(HeadSpecialization(sums).table(), ablated.heads)
        results: dict[str, Any] = {
            **verdict(rows, seed=config.seed),
            "n": len(rows),
            "leaderboard": {role: one.describe() for role, one in judged.items()},
            "not_judged": {role: one.reason for role, one in judged.items() if one.board is None},
            "pruning": ablated.pruned(config.seed),
            "not_ablated": ablated.reason,
            "not_attacked": broken.reason,
            "not_represented": layered.reason,
            "not_dissected": apart.reason,
        }
        curve = [] if ablated.curve is None else ablated.curve.table(config.seed)
        asked = questions(
            results,
            heads,
            layers=ablated.layers,
            curve=curve,
            robustness=broken.document,
            causes=causes,
            representation=layered.document,
            dissection=apart.document,
        )
        results |= {"num_questions": len(asked), "findings": found_among(asked)}
        results = marked({"headline": headline(results), **results})
        write_table(site.folder / "images.parquet", rows)
        write_table(site.folder / "heads.parquet", heads)
        if ablated.layers:
            write_table(site.folder / "layers.parquet", ablated.layers)
        if curve:
            write_table(site.folder / "pruning.parquet", curve)
        if standings := [row for role, one in judged.items() for row in one.rows(role)]:
            write_table(site.folder / "explanations.parquet", standings)
        if broken.document is not None:
            write_json(site.folder / "robustness.json", broken.document)
        if causes is not None:
            write_json(site.folder / "causes.json", causes)
        if layered.document is not None:
            write_json(site.folder / "representation.json", layered.document)
        if apart.document is not None:
            write_json(site.folder / "dissection.json", apart.document)
        if apart.arrays:
            write_arrays(site.folder / "dissection.zarr", apart.arrays, {})
        split = images.decoded.split
        write_table(
            site.folder / "metrics.parquet",
            metric_table(results, heads, broken.curve_rows(), split=split, seed=config.seed),
        )
        write_arrays(site.folder / "specimens.zarr", *shown)
        write_json(site.folder / "results.json", results)
    for stage in (*parts.computed, *parts.reused):
        done, found = parts.computed.get(stage, 0), parts.reused.get(stage, 0)
        site.log(f"{stage}: {done} images computed, {found} found finished")
    write_json(
        site.folder / "run.json",
        {
            "schema_version": SCHEMA_VERSION,
            "status": "complete",
            "provenance": {**record, "wall_seconds": round(time.monotonic() - started, 2)},
            "config": config.model_dump(mode="json"),
            "models": {
                role: {**one.describe(), "classes_matched": matches[role].reason}
                for role, one in specimens.items()
            },
            "data": described_data(images.decoded, source),
            "work": {"computed": parts.computed, "reused": parts.reused},
            "seconds": site.seconds,
        },
    )


def decoded_for(vit: Specimen, cnn: Specimen, source: ImageSource, *, skip_bad: bool) -> DecodedImages:
    """The images in the larger of the two models' sizes; the other model shrinks them for itself."""
    size = max(vit.image_size, cnn.image_size)
    return decode_once(source, size, crop_fraction=vit.crop_fraction, skip_bad=skip_bad)


def described_data(chosen: DecodedImages, source: ImageSource) -> dict[str, Any]:
    """The `data` part of `run.json`."""
    return {
        "name": source.name,
        "split": source.split,
        "fingerprint": source.fingerprint,
        "classes": list(source.classes),
        "num_images": len(chosen),
        "num_available": len(source),
        "skipped": [{"id": name, "reason": reason} for name, reason in chosen.skipped],
    }


def _specimen(given: str | Specimen, device: str) -> Specimen:
    return load(given, device=device) if isinstance(given, str) else given


def _source(given: str | ImageSource, split: str | None) -> ImageSource:
    return open_source(given, split=split) if isinstance(given, str) else given


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
