"""A training as it wrote itself down: what it was told, how the numbers went, and how it ended."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from archaeology.core.storage import read_json
from archaeology.training.config import TrainConfig
from archaeology.training.state import LATEST
from archaeology.training.trackers import read_lines

State = Literal["finished", "broken", "running", "interrupted"]
Series = Float[np.ndarray, " line"]

# A training that has written nothing for so long, and for so many times its usual pause, is taken for dead.
SILENCE_SECONDS, SILENCE_PAUSES = 300.0, 5.0


@dataclass(frozen=True)
class RunHistory:
    """What the folder of a training holds.

    Attributes:
        folder: Where it lies.
        card: `config.json`: architecture, arguments, classes, facts; empty before the first epoch ended.
        record: `run.json`; empty unless it finished.
        failure: `failure.json`; empty unless it broke.
        lines: Of `metrics.jsonl`, those with a loss (null where it was not finite), in order.
        epochs: Those without: what was measured after each epoch.
        state: "finished", "broken" (it says why), "running" (it wrote a moment ago) or "interrupted".
        saved: `state/latest.json`: where it stands and how it is configured; empty once it finished.
    """

    folder: Path
    card: Mapping[str, Any]
    record: Mapping[str, Any]
    failure: Mapping[str, Any]
    lines: tuple[Mapping[str, Any], ...]
    epochs: tuple[Mapping[str, Any], ...]
    state: State
    saved: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Fields of `TrainConfig`, from whichever file has them; empty if none does."""
        places = (self.record, self.failure, self.card.get("facts", {}), self.saved)
        return next((place["config"] for place in places if place.get("config")), {})

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Recipe, data and so on, from whichever file has them."""
        return {**self.card.get("facts", {}), **self.failure, **self.record}

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the model was built with."""
        return self.card.get("arguments", {})

    @property
    def chance(self) -> float | None:
        """Cross-entropy of guessing, log of the number of classes; None where nothing is classified."""
        return math.log(self.num_classes) if self.num_classes else None

    @property
    def num_classes(self) -> int | None:
        """Classes it tells apart (at least two), or None."""
        classes = self.card.get("classes") or ()
        count = len(classes) or self.arguments.get("num_classes", 0)
        return count if count >= 2 and self.card.get("task") != "stream" else None

    def series(self, name: str) -> Series:
        """The numbers called so over the lines; NaN where one is missing or was not finite."""
        found = [line.get(name) for line in self.lines]
        return np.array([math.nan if number is None else float(number) for number in found])

    @cached_property
    def loss(self) -> Series:
        """Mean loss since the line before."""
        return self.series("loss")

    @cached_property
    def rate(self) -> Series:
        """The schedule's factor, in [0, 1]."""
        return self.series("rate")

    @cached_property
    def learning_rate(self) -> Series:
        """As logged, else the schedule's factor times the full rate."""
        logged = self.series("learning_rate")
        return np.where(
            np.isnan(logged), self.rate * float(self.config.get("learning_rate", math.nan)), logged
        )

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        taken = [line["step"] for line in (*self.lines, *self.epochs)]
        return max([*taken, int(self.failure.get("step") or 0)], default=0)

    @property
    def progress(self) -> float:
        """Share of the planned training that is done, in [0, 1]."""
        if self.state == "finished":
            return 1.0
        return float(self.lines[-1].get("progress") or 0.0) if self.lines else 0.0

    @property
    def num_training(self) -> int | None:
        """Images trained on: as recorded, else told from steps in an epoch; None for examples made up on the way."""
        if self.card.get("task") == "stream":
            return None
        recorded = self.facts.get("data") or {}
        if isinstance(recorded, Mapping) and recorded.get("num_training"):
            return int(recorded["num_training"])
        steps = [line["step"] / line["epoch"] for line in (*self.epochs, *self.lines) if line.get("epoch")]
        batch = self.config.get("batch_size")
        return round(steps[0] * batch) if steps and batch else None

    def accuracy(self, which: Literal["train", "test"]) -> float | None:
        """The last one measured on training or test images, in [0, 1]."""
        final = self.record.get("accuracy" if which == "test" else "train_accuracy")
        if final is not None:
            return float(final["value"] if isinstance(final, Mapping) else final)
        glances = [line.get(f"{which}_accuracy_glance") for line in self.epochs]
        return next((float(glance) for glance in reversed(glances) if glance is not None), None)

    def accuracies(self) -> tuple[float, float] | None:
        """On training images and on others; None unless both were measured."""
        train, test = self.accuracy("train"), self.accuracy("test")
        return None if train is None or test is None else (train, test)


def read_history(folder: Path) -> RunHistory:
    """Read the folder that `archaeology train` wrote, or is writing.

    Raises:
        FileNotFoundError: If it is no such folder.
        ValueError: If one of its files is not JSON.
    """
    names = ("config.json", "run.json", "failure.json")
    if not any((folder / name).is_file() for name in (*names, "metrics.jsonl")):
        raise FileNotFoundError(
            f"{folder} must be the folder of a training, but has none of metrics.jsonl, {', '.join(names)}; "
            "name the one given to `archaeology train RECIPE --out`."
        )
    card, record, failure = (read_json(folder / name) if (folder / name).is_file() else {} for name in names)
    lines = read_lines(folder / "metrics.jsonl")
    steps = tuple(line for line in lines if "loss" in line)
    rest = tuple(line for line in lines if "loss" not in line)
    state: State = "finished" if record else "broken" if failure else _alive(folder, steps)
    latest = folder / "state" / LATEST
    saved = read_json(latest) if latest.is_file() else {}
    if saved:  # the state also knows what else must stay the same, such as the data
        saved["config"] = {
            key: saved["config"][key] for key in TrainConfig.model_fields if key in saved["config"]
        }
    return RunHistory(folder, card, record, failure, steps, rest, state, saved)


def _alive(folder: Path, lines: tuple[Mapping[str, Any], ...]) -> State:
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return "interrupted"
    seconds = [float(line["seconds"]) for line in lines if line.get("seconds") is not None]
    pause = max((after - before for before, after in pairwise(seconds)), default=0.0)
    silent = time.time() - path.stat().st_mtime
    return "running" if silent < max(SILENCE_SECONDS, SILENCE_PAUSES * pause) else "interrupted"
