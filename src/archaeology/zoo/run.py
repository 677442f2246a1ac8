"""Measure the zoo: all mechanisms in turn, round after round, so that what disturbs one disturbs all.

Every number is on the disk before the next is taken; what is there is not measured again, so the same command after a
stop does only the rest, and longer lengths or more mechanisms can be added to a folder. `run.json` is written last.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from archaeology.attention import mechanisms
from archaeology.attention.layers import layers
from archaeology.core.allocation import release_freed_memory, tune_allocation
from archaeology.core.memory import available_mebibytes, can_measure_memory
from archaeology.core.progress import Advance, progress
from archaeology.core.provenance import package_versions, provenance
from archaeology.core.storage import read_json, write_json
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.directory import SCHEMA_VERSION, TABLE, ZooRun
from archaeology.zoo.errors import comparable, errors, lengths_for_errors
from archaeology.zoo.forecast import Skip, expected, too_costly
from archaeology.zoo.inputs import KINDS
from archaeology.zoo.measurements import Measurements, memory_row, time_row
from archaeology.zoo.memory import MemoryChild
from archaeology.zoo.subject import DENSE, STEPS, Subject, subject

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
# What every number of a folder has in common; all else may differ from one call to the next.
SAME = ("heads", "head_dim", "dtype", "threads", "clock", "tune_allocation", "seed")


@dataclass
class Survey:
    """One call: what to measure, what is known, what was left out."""

    config: ZooConfig
    names: list[str]
    rows: Measurements
    skips: list[Skip] = field(default_factory=list)
    has_measured: bool = False

    def skip(self, name: str, length: int, reason: str, *, and_beyond: bool = True) -> None:
        """Leave a mechanism out at a length, and at longer ones too unless told otherwise, and say so."""
        if not self.is_skipped(name, length):
            self.skips.append(Skip(name, length, reason, and_beyond))
            print(f"archaeology: {name} is skipped at {length:,} tokens: {reason}", file=sys.stderr)

    def is_skipped(self, name: str, length: int) -> bool:
        """Whether it is left out there."""
        return any(
            skip.mechanism == name and (skip.length == length or (skip.and_beyond and skip.length < length))
            for skip in self.skips
        )

    def known(self, name: str, quantity: str) -> dict[int, float]:
        """The highest cost of forward and backward at each length measured."""
        costs = {length: self.rows.values(name, length, quantity, STEPS[1]) for length in self.config.lengths}
        return {length: max(found) for length, found in costs.items() if found}


def measure_zoo(config: ZooConfig) -> ZooRun:
    """Measure what `config` asks for and is not in its folder yet.

    Returns:
        The finished run directory.

    Raises:
        UnknownNameError: If a mechanism is unknown.
        ValueError: If the folder holds measurements made in another way.
    """
    names = chosen(config)
    claim(config)
    survey = Survey(config, names, Measurements(config.out / TABLE))
    started = provenance(config.seed)
    with _settings(config) as is_tuned, MemoryChild(config) as child, _bar(config) as advance:
        for length in config.lengths:
            release_freed_memory()  # what shorter sequences left would pass for memory that is not there
            if can_measure_memory():
                measure_memory(survey, length, child)
            advance()
            measure_times(survey, length, advance)
            measure_errors(survey, length)
            advance()
    _finish(survey, started, is_tuned)
    return ZooRun(config.out)


def chosen(config: ZooConfig) -> list[str]:
    """The mechanisms to measure, dense attention first.

    Raises:
        UnknownNameError: If one is unknown.
        ValueError: If one is a layer.
    """
    names = mechanisms.names() if config.mechanisms is None else list(config.mechanisms)
    for name in names:
        if name in layers:
            raise ValueError(
                f"{name!r} is a whole layer, with projections of its own; only mechanisms are measured."
            )
        mechanisms.get(name)
    return [DENSE, *(name for name in dict.fromkeys(names) if name != DENSE)]


def claim(config: ZooConfig) -> None:
    """Make the folder, or see that what it holds was measured in the same way.

    Raises:
        ValueError: If it was not, or if the folder holds something else.
    """
    wanted = {name: getattr(config, name) for name in SAME} | {"torch": package_versions()["torch"]}
    marker = config.out / "config.json"
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
            f"--out must be a new folder or one of an earlier measurement, but {config.out} is neither."
        )
    else:
        write_json(marker, wanted)


def measure_memory(survey: Survey, length: int, child: MemoryChild) -> None:
    """Peak memory of every mechanism, each step once."""
    for name in survey.names:
        if survey.rows.has(name, length, "mebibytes", 0) or not is_affordable(survey, name, length):
            continue
        try:
            peaks = child.ask(name, length)
        except MemoryError as error:
            survey.skip(name, length, str(error))
            continue
        survey.has_measured = True
        survey.rows.add(memory_row(name, length, step, 0, peak) for step, peak in peaks.items())


def measure_times(survey: Survey, length: int, advance: Advance) -> None:
    """All mechanisms in turn, as many rounds as asked for, after each has run once."""
    rounds = range(survey.config.rounds)
    lacking = [
        name
        for name in survey.names
        if not all(survey.rows.has(name, length, "seconds", turn) for turn in rounds)
        and is_affordable(survey, name, length)
    ]
    subjects = [made for name in lacking if (made := _subject(survey, name, length)) is not None]
    for made in subjects:
        for step in STEPS:
            made.run(step)()
    for turn in rounds:
        gc.collect()  # now, and not in the middle of a step
        for made in subjects:
            if not survey.rows.has(made.name, length, "seconds", turn):
                survey.has_measured = True
                times = {step: _seconds(made.run(step), survey.config.clock) for step in STEPS}
                survey.rows.add(time_row(made.name, length, step, turn, took) for step, took in times.items())
        advance(note=f"{length:,} tokens")


def measure_errors(survey: Survey, length: int) -> None:
    """Errors of those that can be compared, on inputs of both kinds and every sharpness."""
    config = survey.config
    if length not in lengths_for_errors(config):
        return
    names = [name for name in comparable(survey.names) if not survey.is_skipped(name, length)]
    for kind in KINDS:
        for score_std in config.score_stds:
            for draw in range(config.draws):
                lacking = [
                    name
                    for name in names
                    if not survey.rows.has(name, length, "relative error", draw, kind, score_std)
                ]
                if lacking:
                    survey.has_measured = True
                    survey.rows.add(errors(lacking, length, kind, score_std, draw, config))


def is_affordable(survey: Survey, name: str, length: int) -> bool:
    """Whether a step is short and small enough to be tried; if not, it is skipped with the reason."""
    if survey.is_skipped(name, length):
        return False
    reason = too_costly(
        expected(survey.known(name, "seconds"), length),
        expected(survey.known(name, "mebibytes"), length),
        patience=survey.config.patience,
        available=available_mebibytes(),
    )
    if reason is not None:
        survey.skip(name, length, reason)
    return reason is None


def _subject(survey: Survey, name: str, length: int) -> Subject | None:
    try:
        return subject(name, length, survey.config)
    except ValueError as error:
        survey.skip(name, length, str(error), and_beyond=False)
        return None


def _seconds(run: Callable[[], object], clock: str) -> float:
    start = CLOCKS[clock]()
    run()
    return CLOCKS[clock]() - start


@contextmanager
def _settings(config: ZooConfig) -> Iterator[bool]:
    """The number of threads, given back afterwards, and the allocator, which cannot be; yields whether it was tuned."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        yield config.tune_allocation and tune_allocation()
    finally:
        torch.set_num_threads(before)


@contextmanager
def _bar(config: ZooConfig) -> Iterator[Advance]:
    with progress("measuring", total=len(config.lengths) * (config.rounds + 2)) as advance:
        yield advance


def _finish(survey: Survey, started: dict[str, Any], is_tuned: bool) -> None:
    path = survey.config.out / "run.json"
    earlier = read_json(path)["sessions"] if path.is_file() else []
    sessions = [*earlier, started] if survey.has_measured or not earlier else earlier
    document = {
        "schema_version": SCHEMA_VERSION,
        "status": "complete",
        "config": survey.config.model_dump(mode="json"),
        "mechanisms": survey.names,
        "allocation_was_tuned": is_tuned,
        "skipped": [asdict(skip) for skip in survey.skips],
        "sessions": sessions,
    }
    write_json(path, document)
