"""Profile specimens: all in turn, round after round, so that what disturbs one disturbs all.

Every round is on the disk before the next begins; what is there is not measured again, so the same command after a
stop does only the rest, and more specimens or sizes can be added to a folder. `profile.json` is written last.
"""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from archaeology.core.allocation import tune_allocation
from archaeology.core.memory import can_measure_memory
from archaeology.core.progress import progress
from archaeology.core.provenance import package_versions, provenance
from archaeology.core.storage import read_json, write_json
from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.count import Count, counted
from archaeology.profiling.directory import DOCUMENT, SCHEMA_VERSION, TABLE, ProfileRun
from archaeology.profiling.limits import Known, too_much
from archaeology.profiling.measurements import Measurement, Measurements
from archaeology.profiling.memory import cuda_peak, peaks_in_child
from archaeology.profiling.subject import (
    CLOCKS,
    Subject,
    built,
    forward,
    load_device,
    normalised_images,
    subjects,
)
from archaeology.profiling.summary import machine_name, names_of, profile_of
from archaeology.specimens.specimen import Specimen

# What every number of a folder has in common; all else may differ from one call to the next.
MARKER = "config.json"
SAME = ("threads", "clock", "dtype", "tune_allocation", "seed", "warm_up")


@dataclass
class Survey:
    """One call: what to measure, what is known, what was left out."""

    config: ProfileConfig
    specimens: Mapping[Subject, Specimen]
    rows: Measurements
    skips: dict[tuple[str, int], str] = field(default_factory=dict)

    def skip(self, subject: Subject, batch: int, reason: str) -> None:
        """Leave a specimen out at a batch size, and say so."""
        if (subject.key, batch) not in self.skips:
            self.skips[subject.key, batch] = reason
            print(f"archaeology: {subject.key} is skipped: {reason}", file=sys.stderr)


def measure_profile(config: ProfileConfig) -> ProfileRun:
    """Measure what `config` asks for and is not in its folder yet.

    Returns:
        The finished run directory.

    Raises:
        UnknownNameError: If a specimen is unknown.
        ValueError: If one cannot be built, or the folder holds measurements made in another way.
    """
    way = check_folder(config)
    specimens = {subject: built(subject, config) for subject in subjects(config)}
    with threads(config.threads):
        counts = {subject: counted(specimen) for subject, specimen in specimens.items()}
        write_json(config.out / MARKER, way)
        survey = Survey(config, specimens, Measurements(config.out / TABLE))
        started = provenance(config.seed)
        steps = len(specimens) + len(config.batch_sizes) * config.rounds
        with progress("profiling", total=steps) as advance:
            for subject in specimens:
                measure_memory(survey, subject)
                advance(note=subject.spec)
            if config.tune_allocation:
                tune_allocation()
            for batch in config.batch_sizes:
                for _ in measure_times(survey, batch):
                    advance(note=f"batches of {batch:,}")
    _finish(survey, counts, started)
    return ProfileRun(config.out)


def check_folder(config: ProfileConfig) -> dict[str, Any]:
    """See that the folder is new, or that what it holds was measured in the same way; says in which.

    Raises:
        ValueError: If it was not, or if the folder holds something else.
    """
    wanted = {name: getattr(config, name) for name in SAME}
    wanted |= {"device": str(load_device(config)), "torch": package_versions()["torch"]}
    marker = config.out / MARKER
    if marker.is_file():
        found = read_json(marker)
        different = [name for name in wanted if found.get(name) != wanted[name]]
        if different:
            told = ", ".join(f"{name} was {found.get(name)} and is {wanted[name]}" for name in different)
            raise ValueError(
                f"{config.out} holds measurements made in another way: {told}; give another --out, or the same options."
            )
    elif config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise ValueError(
            f"--out must be a new folder or one of an earlier profile, but {config.out} is neither."
        )
    return wanted


def measure_memory(survey: Survey, subject: Subject) -> None:
    """Peak memory of one specimen, each batch size once; what does not fit is left out from here on."""
    specimen, config = survey.specimens[subject], survey.config
    lacking = [
        batch for batch in config.batch_sizes if not survey.rows.values(subject.key, batch, "mebibytes")
    ]
    if not lacking:
        return
    if specimen.device.type == "cuda":
        peaks = [cuda_peak(specimen, batch, config.seed) for batch in lacking]
    elif specimen.device.type == "cpu" and can_measure_memory():
        peaks = peaks_in_child(subject, lacking, config)
    else:
        return  # nobody keeps a high-water mark there
    for peak in peaks:
        if peak.mebibytes is None:
            survey.skip(subject, peak.batch, peak.reason)
        else:
            survey.rows.add([Measurement(subject.key, peak.batch, "mebibytes", 0, peak.mebibytes)])


def measure_times(survey: Survey, batch: int) -> Iterator[int]:
    """All specimens in turn, as many rounds as asked for, after each has warmed up; yields after each round."""
    config = survey.config
    lacking = {
        subject: normalised_images(specimen, batch, config.seed)
        for subject, specimen in survey.specimens.items()
        if len(survey.rows.values(subject.key, batch, "seconds")) < config.rounds
        and is_affordable(survey, subject, batch)
    }
    for subject, images in lacking.items():
        for _ in range(config.warm_up):
            forward(survey.specimens[subject].model, images)
    for turn in range(config.rounds):
        gc.collect()  # now, and not in the middle of a pass
        taken = []
        for subject, images in lacking.items():
            if len(survey.rows.values(subject.key, batch, "seconds")) <= turn:
                model = survey.specimens[subject].model
                start = CLOCKS[config.clock]()
                forward(model, images)
                took = CLOCKS[config.clock]() - start
                taken.append(Measurement(subject.key, batch, "seconds", turn, took))
        survey.rows.add(taken)
        yield turn


def is_affordable(survey: Survey, subject: Subject, batch: int) -> bool:
    """Whether a batch is short enough to be tried; if not, it is skipped with the reason."""
    if (subject.key, batch) in survey.skips:
        return False
    smaller = [
        (size, min(found))
        for size in survey.config.batch_sizes
        if size < batch and (found := survey.rows.values(subject.key, size, "seconds"))
    ]
    if not smaller:
        return True
    size, seconds = smaller[-1]
    reason = too_much(batch, Known(seconds / size), patience=survey.config.patience, available=None)
    if reason is not None:
        survey.skip(subject, batch, reason)
    return reason is None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """This number of CPU threads inside, the one before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _finish(survey: Survey, counts: Mapping[Subject, Count], started: dict[str, Any]) -> None:
    names = names_of(list(survey.specimens), survey.specimens)
    device = str(load_device(survey.config))
    document = {
        "schema_version": SCHEMA_VERSION,
        "status": "complete",
        "config": survey.config.model_dump(mode="json"),
        "device": device,
        "machine": machine_name(device),
        "profiles": [
            asdict(profile_of(names[subject], subject, specimen, counts[subject], survey.rows, survey.config))
            for subject, specimen in survey.specimens.items()
        ],
        "skipped": [
            {"subject": subject, "batch": batch, "reason": reason}
            for (subject, batch), reason in survey.skips.items()
        ],
        "provenance": started,
    }
    write_json(survey.config.out / DOCUMENT, document)
