"""What all recipes on `shapes1d` share, so that models, positions and mechanisms can be compared.

Each sees the same 96,000 samples in the same order, has about 0.1 million parameters (but for the fully connected net,
which gets 2 million, as 0.1 million would do worse) and its own optimizer where Muon did worse for it.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from archaeology.data.worlds.shapes1d import Shapes1D
from archaeology.data.worlds.shapes1d_scores import scores
from archaeology.recipes._worlds import score_of, stream_of
from archaeology.recipes.recipe import Promise, StreamRecipe
from archaeology.training.config import TrainConfig

STEPS_OF_AN_EPOCH, EPOCHS, BATCH_SIZE = 100, 15, 64
PATCH_SIZE = 5


def world(seed: int) -> Shapes1D:
    """The world that all recipes are about, with its usual options."""
    return Shapes1D(seed=seed)


def shapes1d_recipe(architecture: str, promised: float, **arguments: Any) -> StreamRecipe:
    """The recipe of a model with these arguments; `promised` is the amplitude error that no seed exceeded."""
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
        promise=Promise("amplitude_error", promised),
        figure="world_predictions",
    )


def with_adamw(recipe: StreamRecipe, learning_rate: float) -> StreamRecipe:
    """The same, trained by AdamW in float32."""
    changed = {"optimizer": "adamw", "learning_rate": learning_rate, "dtype": "float32"}
    return replace(recipe, config=recipe.config.model_copy(update=changed))


attention_recipe = partial(
    shapes1d_recipe, "attention1d", patch_size=PATCH_SIZE, embed_dim=64, depth=2, num_heads=4
)
