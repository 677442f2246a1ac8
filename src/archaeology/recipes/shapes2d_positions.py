"""Must patches know where they lie? The same encoder-decoder on `shapes2d`, told in other ways or not at all."""

from archaeology.recipes._shapes2d import shapes2d_recipe
from archaeology.recipes.recipe import StreamRecipe, recipes


@recipes.register("shapes2d_positions_none")
def shapes2d_positions_none() -> StreamRecipe:
    """No positions: all queries of the decoder are the same, and no patch of the answer knows which it is."""
    return shapes2d_recipe("encoder_decoder", 0.45, positions="none")


@recipes.register("shapes2d_positions_learnable")
def shapes2d_positions_learnable() -> StreamRecipe:
    """A learned vector for every patch, added to its token."""
    return shapes2d_recipe("encoder_decoder", 0.45, positions="learnable")


@recipes.register("shapes2d_positions_rotary")
def shapes2d_positions_rotary() -> StreamRecipe:
    """Queries and keys of self-attention turned by angles that grow with row and column."""
    return shapes2d_recipe("encoder_decoder", 0.2, positions="rotary")
