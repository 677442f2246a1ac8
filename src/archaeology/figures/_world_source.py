"""What figures of the worlds are made from: which held-out sample, and runs of trained models."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from archaeology.core.storage import read_json
from archaeology.recipes.recipe import StreamRecipe, recipes
from archaeology.recipes.stream import TASK, load_trained


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


@dataclass(frozen=True)
class WorldSource:
    """What a figure may draw.

    Attributes:
        runs: Trained models, of any world.
        sample: Number of the held-out sample that is shown; None lets a figure choose a telling one.
        out_of: Where the runs were looked for, in words.
    """

    runs: tuple[WorldRun, ...] = ()
    sample: int | None = None
    out_of: str = "runs"

    def of(self, world: str, architectures: Sequence[str] = ()) -> list[WorldRun]:
        """Runs of recipes of this world, with one of these architectures if any are named; perhaps none."""
        return [
            run
            for run in self.runs
            if world in run.recipe and (not architectures or run.architecture in architectures)
        ]

    def one(self, world: str, architectures: Sequence[str]) -> WorldRun | None:
        """The first such run, lowest seed first."""
        return min(self.of(world, architectures), key=lambda run: run.seed, default=None)


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
