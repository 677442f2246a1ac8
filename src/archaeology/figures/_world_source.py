"""What figures of the worlds are made from: which held-out sample, and runs of trained models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from archaeology.core.storage import read_json
from archaeology.recipes.recipe import StreamRecipe, recipes
from archaeology.recipes.stream import TASK, load_trained

SCORES = {
    "shapes1d": "amplitude_error",
    "shapes2d": "colour_error",
}  # what counts in each world; 1 is no averaging
SCORE_WORDS = {"shapes1d": "amplitude error", "shapes2d": "colour error"}


@dataclass(frozen=True)
class WorldRun:
    """A folder that `archaeology train` made.

    Attributes:
        folder: Where it lies.
        recipe: Its name.
        architecture: Of the model.
        seed: Of the training.
    """

    folder: Path
    recipe: str
    architecture: str
    seed: int

    @cached_property
    def model(self) -> nn.Module:
        """The trained model, ready to answer."""
        return load_trained(self.folder)[0]

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end and was scored."""
        return (self.folder / "run.json").is_file()

    def score(self, name: str) -> float:
        """What the run reached on held-out samples; NaN while it is unfinished."""
        path = self.folder / "run.json"
        scores: Any = read_json(path).get("scores", {}) if path.is_file() else {}
        value = scores.get(name, {}).get("value")
        return math.nan if value is None else float(value)


@dataclass(frozen=True)
class WorldSource:
    """What a figure may draw.

    Attributes:
        runs: Trained models, of any world.
        sample: Number of the held-out sample that is shown; None lets a figure choose a telling one.
        patch: Number of the patch of the answer that is followed, row by row; None lets the figure choose.
        count: How many held-out samples are measured, where a figure measures.
    """

    runs: tuple[WorldRun, ...] = ()
    sample: int | None = None
    patch: int | None = None
    count: int = 200

    def of(self, world: str, architectures: Sequence[str] = ()) -> list[WorldRun]:
        """Runs of recipes of this world, with one of these architectures if any are named; perhaps none."""
        return [
            run
            for run in self.runs
            if world in run.recipe and (not architectures or run.architecture in architectures)
        ]

    def each(self, world: str, architectures: Sequence[str] = ()) -> list[WorldRun]:
        """One run of each recipe, the finished one of the lowest seed; best first, unfinished ones last."""
        found = self.of(world, architectures)
        first = {run.recipe: run for run in sorted(found, key=lambda run: (run.is_finished, -run.seed))}
        return sorted(first.values(), key=lambda run: _lowest_first(run.score(SCORES[world])))

    def best(self, world: str, architectures: Sequence[str]) -> WorldRun | None:
        """The run with the least error, if there is any run."""
        found = self.of(world, architectures)
        return min(found, key=lambda run: _lowest_first(run.score(SCORES[world])), default=None)


def _lowest_first(score: float) -> float:
    return math.inf if math.isnan(score) else score


def found_runs(folder: Path) -> tuple[WorldRun, ...]:
    """Every run of a made-up world in `folder` or any folder below it, by recipe and seed.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"runs must be a folder, but there is no {str(folder)!r}.")
    runs = []
    for path in folder.rglob("config.json"):
        described: Any = read_json(path)
        if isinstance(described, dict) and described.get("task") == TASK:
            seed = int(described.get("facts", {}).get("seed", 0))
            runs.append(WorldRun(path.parent, described["recipe"], described["architecture"], seed))
    return tuple(sorted(runs, key=lambda run: (run.recipe, run.seed, str(run.folder))))


def recipes_for(world: str, architectures: Sequence[str] = ()) -> list[str]:
    """Names of the recipes whose runs `WorldSource.of` would take."""
    named = []
    for name in recipes:
        if world in name:
            recipe = recipes.get(name)()
            if isinstance(recipe, StreamRecipe) and (
                not architectures or recipe.architecture in architectures
            ):
                named.append(name)
    return named
