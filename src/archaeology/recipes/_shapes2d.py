"""What all recipes on `shapes2d` share, so that models and positions can be compared: the same samples, as many."""

from typing import Any

from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_scores import scores
from archaeology.recipes._worlds import score_of, stream_of
from archaeology.recipes.recipe import Promise, StreamRecipe
from archaeology.training.config import TrainConfig

STEPS_OF_AN_EPOCH, EPOCHS, BATCH_SIZE = 100, 12, 32


def world(seed: int) -> Shapes2D:
    """The world that all recipes are about, with its usual options."""
    return Shapes2D(seed=seed)


def shapes2d_recipe(architecture: str, promised: float, **arguments: Any) -> StreamRecipe:
    """The recipe of a model with these arguments; `promised` is the colour error that no seed exceeded."""
    return StreamRecipe(
        architecture=architecture,
        arguments=arguments,
        stream=stream_of(world),
        steps=STEPS_OF_AN_EPOCH,
        config=TrainConfig(
            epochs=EPOCHS,
            batch_size=BATCH_SIZE,
            learning_rate=0.02,
            other_learning_rate=2e-3,
            weight_decay=0.0,
        ),
        score=score_of(world, scores),
        promise=Promise("colour_error", promised),
        figure="world_predictions",
    )
