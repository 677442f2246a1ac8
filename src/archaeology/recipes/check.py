"""Can the model of a recipe learn one batch of its data by heart? A check before any training."""

from collections.abc import Mapping
from typing import Any

from archaeology.recipes.folder import RunOptions
from archaeology.recipes.recipe import Recipe, recipes
from archaeology.recipes.subject import Subject
from archaeology.training.config import TrainConfig
from archaeology.training.overfit import Overfit, overfit_one_batch
from archaeology.training.runtime import open_runtime


def check_recipe(
    name: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    data: str | None = None,
    origin: str | None = None,
) -> Overfit:
    """Train a copy of the recipe's model on one batch until it names every image; arguments as of `run_recipe`.

    Raises:
        UnknownNameError: If there is no such recipe.
        ValueError: If the batch cannot be learned, or the recipe has no images.
    """
    recipe = recipes.get(name)()
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"one batch of images and labels is learned by heart, but {name} has made-up examples, or no labels."
        )
    plain = {"distill": "none", "mixup": 0.0, "cutmix": 0.0, "adversarial": "none"}
    config = TrainConfig.model_validate({**recipe.config.model_dump(), **(overrides or {}), **plain})
    with open_runtime(config.device) as runtime:
        subject = Subject.of(name, recipe, config, RunOptions(data=data, origin=origin), runtime)
        batches = subject.batches
        images, labels = batches.images[: config.batch_size], batches.labels[: config.batch_size]
        return overfit_one_batch(subject.start.model, subject.specimen.prepare(images), labels, config)
