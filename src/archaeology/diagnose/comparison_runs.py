"""A run that is compared with others: how accurate it was after every epoch, and what makes it what it is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from archaeology.core.intervals import Interval, wilson
from archaeology.core.storage import plain_json
from archaeology.diagnose.history import RunHistory, read_history
from archaeology.training.config import TrainConfig
from archaeology.training.session import FREE

GLANCE = "test_accuracy_glance"
NO_MATTER = {*FREE, "seed"}  # of the configuration: what does not make it another recipe


@dataclass(frozen=True)
class Point:
    """A run when an epoch had ended.

    Attributes:
        epoch: Passes over the training images.
        seconds: Wall time since it began; between two lines of `metrics.jsonl` it is taken to pass evenly.
        examples: Images trained on, repeats counted.
        accuracy: On some of the test images, in [0, 1].
    """

    epoch: float
    seconds: float
    examples: int
    accuracy: float


@dataclass(frozen=True)
class ComparedRun:
    """One run of a recipe of images.

    Attributes:
        history: What its folder holds.
        recipe: Its name.
        seed: Of the run.
        points: After every epoch, at least one.
        final: Accuracy on all test images with Wilson's interval; None before the run has finished.
    """

    history: RunHistory
    recipe: str
    seed: int
    points: tuple[Point, ...]
    final: Interval | None

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.history.folder

    @property
    def data(self) -> Mapping[str, Any]:
        """What it was trained and measured on, in words."""
        found = self.history.facts.get("data")
        return found if isinstance(found, Mapping) else {}

    @property
    def test(self) -> tuple[Any, ...]:
        """Tells test sets apart: the fingerprint of the images where it is known, else their name; and the classes."""
        name = self.data.get("test_fingerprint") or self.data.get("test")
        return name, tuple(self.history.card.get("classes") or ())

    @property
    def seconds_per_epoch(self) -> float:
        """Wall time of an epoch, on average."""
        last = self.points[-1]
        return last.seconds / last.epoch

    @property
    def origin(self) -> str | None:
        """The specimen it started from; None for fresh weights."""
        return self.history.facts.get("origin")

    @cached_property
    def setting(self) -> dict[str, Any]:
        """Everything that makes another recipe of it if it differs; without the configuration where it is not known."""
        card, facts, config = self.history.card, self.history.facts, self.history.config
        known = {**TrainConfig().model_dump(), **config} if config else {}
        return plain_json(
            {
                "recipe": self.recipe,
                "architecture": card.get("architecture"),
                "origin": _unseeded(facts.get("origin")),
                "teacher": _unseeded(facts.get("teacher")),
                "training images": self.data.get("training_fingerprint") or self.data.get("training"),
                **{name: value for name, value in self.history.arguments.items() if name != "num_classes"},
                **{name: value for name, value in known.items() if name not in NO_MATTER},
            }
        )


def read_run(folder: Path) -> ComparedRun:
    """One run.

    Raises:
        FileNotFoundError: If the folder holds no training.
        ValueError: If it is none on images, or has not ended an epoch.
    """
    history = read_history(folder)
    if history.card.get("task") == "stream":
        raise ValueError(
            f"{folder} must be a training on images, but {history.card.get('recipe')} learns from made-up examples; "
            "compare those with `archaeology figures world_curves --runs FOLDER`."
        )
    recipe = str(history.facts.get("recipe") or folder.name)
    seed = int(history.facts.get("seed", history.config.get("seed", 0)))
    points = points_of(history)
    if not points:
        raise ValueError(
            f"{folder} must have ended an epoch, but its accuracy was measured nowhere yet "
            f"({history.steps} steps so far); wait, or leave it out."
        )
    return ComparedRun(history, recipe, seed, points, final_of(history))


def final_of(history: RunHistory) -> Interval | None:
    """Accuracy at the end, from how many of how many test images were named rightly."""
    reached = history.record.get("accuracy")
    if reached is None:
        return None
    if not isinstance(reached, Mapping) or not {"value", "n"} <= set(reached):
        raise ValueError(
            f"{history.folder / 'run.json'} must give the accuracy as value and n, but has {reached!r}; restore it."
        )
    count = int(reached["n"])
    return wilson(round(float(reached["value"]) * count), count)


def points_of(history: RunHistory) -> tuple[Point, ...]:
    """What was measured after the epochs, with the time and the examples it had taken."""
    measured = [line for line in history.epochs if line.get(GLANCE) is not None]
    timed = [line for line in history.lines if line.get("seconds") is not None]
    batch = batch_size_of(history, timed)
    steps = [0.0, *(float(line["step"]) for line in timed)]
    seconds = [0.0, *(float(line["seconds"]) for line in timed)]
    points = []
    for line in measured:
        step = float(line["step"])
        late = step / steps[-1] if steps[-1] else 1.0  # beyond the last line the average pace goes on
        time = seconds[-1] * late if step > steps[-1] else float(np.interp(step, steps, seconds))
        points.append(Point(float(line["epoch"]), time, round(step * batch), float(line[GLANCE])))
    return tuple(points)


def batch_size_of(history: RunHistory, timed: Sequence[Mapping[str, Any]]) -> float:
    """Images of a step: as configured, else from the first line (its speed is since the beginning), else an epoch's."""
    images, configured = history.num_training, history.config.get("batch_size")
    if configured:
        return float(min(configured, images or configured))
    first = timed[0] if timed else {}
    if first.get("images_per_second"):
        return float(round(first["images_per_second"] * first["seconds"] / first["step"]))
    epochs = [line for line in history.epochs if line.get("epoch")]
    return float(images or 0) * epochs[0]["epoch"] / epochs[0]["step"] if epochs else 0.0


def _unseeded(spec: Any) -> Any:
    """A spec without the number of the seed in it: each seed may start from its own."""
    return re.sub(r"seed\d+", "seed", spec) if isinstance(spec, str) else spec
