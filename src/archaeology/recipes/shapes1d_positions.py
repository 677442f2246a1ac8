"""Must attention know where things lie? The same transformer on `shapes1d`, told in other ways or not at all."""

from archaeology.recipes._shapes1d import attention_recipe
from archaeology.recipes.recipe import StreamRecipe, recipes


@recipes.register("shapes1d_positions_none")
def shapes1d_positions_none() -> StreamRecipe:
    """No positions: only the convolutions at the ends know what is next to what, and it averages all the same."""
    return attention_recipe(0.023, positions="none")


@recipes.register("shapes1d_positions_learnable")
def shapes1d_positions_learnable() -> StreamRecipe:
    """A learned vector for every place, added to the tokens."""
    return attention_recipe(0.02, positions="learnable")


@recipes.register("shapes1d_positions_rotary")
def shapes1d_positions_rotary() -> StreamRecipe:
    """Queries and keys turned by angles that grow with the place."""
    return attention_recipe(0.025, positions="rotary")


@recipes.register("shapes1d_positions_alibi")
def shapes1d_positions_alibi() -> StreamRecipe:
    """Scores lowered in proportion to distance."""
    return attention_recipe(0.026, positions="alibi")


@recipes.register("shapes1d_positions_relative_bias")
def shapes1d_positions_relative_bias() -> StreamRecipe:
    """A learned number for every distance, added to the scores."""
    return attention_recipe(0.021, positions="relative_bias")
