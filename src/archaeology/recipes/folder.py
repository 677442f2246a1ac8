"""The folder of a run: begun, gone on with, or already finished, and then not overwritten unless that is asked for."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archaeology.core.storage import read_json
from archaeology.training.failure import BATCH, FAILURE
from archaeology.training.runtime import Runtime
from archaeology.training.state import LATEST
from archaeology.training.trackers import Tracker, open_trackers

DONE, STATE = "run.json", "state"
LEFT_BEHIND = (DONE, FAILURE, BATCH, "metrics.jsonl", "config.json", "model.safetensors", "README.md")


@dataclass(frozen=True)
class RunOptions:
    """What a user may say of a training besides its configuration.

    Attributes:
        data: Where the images are; None for the recipe's own place.
        track: Trackers besides JSON lines.
        teacher: A specimen to learn from; None for the recipe's own, if it has one.
        origin: A specimen whose weights to start from; None for the recipe's own, if it has one.
        restart: Whether to throw away what the folder holds.
    """

    data: str | None = None
    track: Sequence[str] = ()
    teacher: str | None = None
    origin: str | None = None
    restart: bool = False


def claim(folder: Path, runtime: Runtime, *, restart: bool) -> None:
    """Make sure that a training may write into `folder`.

    Raises:
        ValueError: If it holds a finished run and `restart` is not given.
    """
    if (folder / DONE).is_file() and not restart:
        raise ValueError(
            f"{folder} holds a finished run, which is not overwritten; choose another --out, or --restart to throw it "
            "away."
        )
    runtime.wait()
    if runtime.is_main:
        for name in LEFT_BEHIND if restart else (FAILURE, BATCH):
            (folder / name).unlink(missing_ok=True)
        if restart:
            shutil.rmtree(folder / STATE, ignore_errors=True)
    runtime.wait()


def forget_state(folder: Path, runtime: Runtime) -> None:
    """Remove what a finished training needs no more."""
    runtime.wait()
    if runtime.is_main:
        shutil.rmtree(folder / STATE, ignore_errors=True)


@contextmanager
def tracking(
    folder: Path, names: Sequence[str], facts: Mapping[str, Any], runtime: Runtime
) -> Iterator[list[Tracker]]:
    """Trackers of the main process, closed when the block ends; others have none."""
    latest = folder / STATE / LATEST
    step = int(read_json(latest)["position"]["step"]) if latest.is_file() else None
    trackers = open_trackers(folder, names, facts=facts, resume_step=step) if runtime.is_main else []
    try:
        yield trackers
    finally:
        for tracker in trackers:
            tracker.close()
