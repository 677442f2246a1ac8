"""Runs that are compared: how accurate each was after every epoch, and which of them differ by their seed alone."""

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


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone.

    Attributes:
        name: The recipe, and what tells it from others of the same recipe.
        runs: By seed, growing.
    """

    name: str
    runs: tuple[ComparedRun, ...]

    @property
    def finished(self) -> tuple[ComparedRun, ...]:
        """Those with a final accuracy."""
        return tuple(run for run in self.runs if run.final is not None)

    @property
    def finals(self) -> dict[int, float]:
        """Final accuracy by seed."""
        return {run.seed: run.final.value for run in self.runs if run.final is not None}


def read_groups(folders: Sequence[Path]) -> tuple[Group, ...]:
    """Read runs and put together those that differ by their seed alone, in the order given.

    Raises:
        FileNotFoundError: If a folder holds no training.
        ValueError: If a run is none of images, has not ended an epoch, or is named twice; if they were measured on
            different test images; or if two have the same recipe and seed.
    """
    if not folders:
        raise ValueError(
            "at least one run must be named; give the folders of `archaeology train RECIPE --out`."
        )
    places = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]
    if twice:
        raise ValueError(f"every run must be named once, but {', '.join(twice)} are the same; leave one out.")
    runs = [read_run(folder) for folder in folders]
    check_tests(runs)
    groups = named(grouped(runs))
    for group in groups:
        seeds = [run.seed for run in group.runs]
        same = [str(run.folder) for run in group.runs if seeds.count(run.seed) > 1]
        if same:
            raise ValueError(
                f"runs of one recipe must differ by their seed, but {', '.join(same)} have the same; leave one out."
            )
    return groups


def read_run(folder: Path) -> ComparedRun:
    """One run; see `read_groups`."""
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


def check_tests(runs: Sequence[ComparedRun]) -> None:
    """Raise unless all were measured on the same test images.

    Raises:
        ValueError: Naming two that were not.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.test != first.test:
            raise ValueError(
                "accuracies can be compared on the same test images only, but "
                f"{first.folder} was measured on {_test_words(first)} and {run.folder} on {_test_words(run)}; "
                "compare them apart."
            )


def _test_words(run: ComparedRun) -> str:
    name, mark = run.data.get("test", "images it does not name"), run.data.get("test_fingerprint")
    return f"{name} of {len(run.test[1])} classes" + (f" [{mark}]" if mark else "")


def grouped(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Runs whose settings agree; one that is not finished, and so does not say all, joins the only group that fits."""
    groups: list[list[ComparedRun]] = []
    for run in sorted(runs, key=lambda run: not run.history.config):
        fitting = [group for group in groups if _agree(group[0].setting, run.setting)]
        if len(fitting) == 1:
            fitting[0].append(run)
        else:
            groups.append([run])
    order = {run.folder: number for number, run in enumerate(runs)}
    return sorted(groups, key=lambda group: min(order[run.folder] for run in group))


def _agree(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return all(whole[name] == value if name in whole else value is None for name, value in part.items())


def named(groups: Sequence[Sequence[ComparedRun]]) -> tuple[Group, ...]:
    """Names that tell groups apart: the recipe and, where that is not enough, what is set otherwise."""
    recipes = [group[0].recipe for group in groups]
    found = []
    for group, recipe in zip(groups, recipes, strict=True):
        rivals = [other[0].setting for other in groups if other[0].recipe == recipe]
        names = dict.fromkeys(name for setting in rivals for name in setting)
        told = [name for name in names if any(s.get(name) != rivals[0].get(name) for s in rivals)]
        said = ", ".join(f"{name.replace('_', ' ')} {_value(group[0].setting.get(name))}" for name in told)
        label = f"{recipe} ({said})" if said else recipe
        found.append(Group(label, tuple(sorted(group, key=lambda run: run.seed))))
    return tuple(found)


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _unseeded(spec: Any) -> Any:
    """A spec without the number of the seed in it: each seed may start from its own."""
    return re.sub(r"seed\d+", "seed", spec) if isinstance(spec, str) else spec
