"""Run a recipe: of images with or without labels, or of made-up examples, in one process or as one of many."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archaeology.recipes.folder import RunOptions, claim
from archaeology.recipes.images import RecipeResult, run_images
from archaeology.recipes.recipe import SelfSupervisedRecipe, StreamRecipe, recipes
from archaeology.recipes.self_supervised import run_self_supervised
from archaeology.recipes.stream import StreamResult, run_stream
from archaeology.training.config import TrainConfig
from archaeology.training.runtime import open_runtime


def run_recipe(
    name: str,
    out: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    data: str | None = None,
    track: Sequence[str] = (),
    teacher: str | None = None,
    origin: str | None = None,
    restart: bool = False,
) -> RecipeResult | StreamResult:
    """Train the recipe called `name` into the checkpoint folder `out`.

    A training that was stopped goes on when the same is asked for again. Under `torchrun` every process calls this.

    Args:
        name: A registered recipe.
        out: Folder for weights, card, `metrics.jsonl` and `run.json`.
        overrides: Fields of `TrainConfig` to change.
        data: Where the images are, as for `archaeology dig --data`; None for the recipe's own place.
        track: Trackers to write to besides `metrics.jsonl`.
        teacher: A specimen to learn from (with `distill` "soft" or "hard"); None for the recipe's own.
        origin: Whose weights to start from, as for `find_origin`; None for the recipe's own.
        restart: Throw away what `out` holds, and begin anew.

    Raises:
        UnknownNameError: If there is no such recipe.
        ValueError: If an override or the data does not fit, or `out` holds a finished run.
        TrainingFailedError: If the training broke; `failure.json` in `out` says how.
    """
    recipe = recipes.get(name)()
    config = TrainConfig.model_validate({**recipe.config.model_dump(), **(overrides or {})})
    options = RunOptions(data, tuple(track), teacher, origin, restart)
    with open_runtime(config.device) as runtime:
        claim(out, runtime, restart=restart)
        if isinstance(recipe, StreamRecipe):
            return run_stream(name, recipe, config, out, options, runtime)
        if isinstance(recipe, SelfSupervisedRecipe):
            return run_self_supervised(name, recipe, config, out, options, runtime)
        return run_images(name, recipe, config, out, options, runtime)
