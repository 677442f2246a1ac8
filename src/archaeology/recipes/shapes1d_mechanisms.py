"""What does cheaper attention cost? The same transformer on `shapes1d` with other mechanisms of the zoo."""

from archaeology.recipes._shapes1d import attention_recipe
from archaeology.recipes.recipe import StreamRecipe, recipes


@recipes.register("shapes1d_mechanism_sliding_window")
def shapes1d_mechanism_sliding_window() -> StreamRecipe:
    """Each of 100 tokens sees 10 to either side, so that two layers reach 40 of them."""
    return attention_recipe(0.74, attention="sliding_window", attention_options={"radius": 10})


@recipes.register("shapes1d_mechanism_linformer")
def shapes1d_mechanism_linformer() -> StreamRecipe:
    """100 tokens seen through 25 learned summaries."""
    return attention_recipe(0.041, attention="linformer", attention_options={"rank": 25})


@recipes.register("shapes1d_mechanism_linear")
def shapes1d_mechanism_linear() -> StreamRecipe:
    """Products of features in place of the softmax."""
    return attention_recipe(0.033, attention="linear")


@recipes.register("shapes1d_mechanism_performer")
def shapes1d_mechanism_performer() -> StreamRecipe:
    """Softmax attention estimated by random features."""
    return attention_recipe(0.023, attention="performer")


@recipes.register("shapes1d_mechanism_sparsemax")
def shapes1d_mechanism_sparsemax() -> StreamRecipe:
    """Weights that may be exactly zero."""
    return attention_recipe(0.049, attention="sparsemax")


@recipes.register("shapes1d_mechanism_reformer")
def shapes1d_mechanism_reformer() -> StreamRecipe:
    """Tokens compared only with those that fall into the same bucket, twice hashed."""
    return attention_recipe(
        0.11, attention="reformer", attention_options={"bucket_size": 16, "num_rounds": 2}
    )
