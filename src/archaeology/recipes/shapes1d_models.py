"""Who can average what lies far apart? Five architectures on `shapes1d`, at equal budgets."""

from archaeology.recipes._shapes1d import PATCH_SIZE, attention_recipe, shapes1d_recipe, with_adamw
from archaeology.recipes.recipe import StreamRecipe, recipes


@recipes.register("shapes1d_fully_connected")
def shapes1d_fully_connected() -> StreamRecipe:
    """Every sample to every sample: no weight is shared between places, so each place learns alone."""
    recipe = shapes1d_recipe("fully_connected", 0.89, shape=(500,), widths=(1000, 1000))
    return with_adamw(recipe, 1e-3)


@recipes.register("shapes1d_convnet")
def shapes1d_convnet() -> StreamRecipe:
    """Convolutions whose dilations reach across the signal, at places that are fixed in advance."""
    return shapes1d_recipe("convnet1d", 0.085, patch_size=PATCH_SIZE, embed_dim=48, depth=6)


@recipes.register("shapes1d_gru")
def shapes1d_gru() -> StreamRecipe:
    """A memory that runs along the signal in both directions, with two gates."""
    recipe = shapes1d_recipe("recurrent", 0.32, patch_size=PATCH_SIZE, embed_dim=76, depth=2, cell="gru")
    return with_adamw(recipe, 4e-3)


@recipes.register("shapes1d_lstm")
def shapes1d_lstm() -> StreamRecipe:
    """A memory that runs along the signal in both directions, with three gates and a cell of its own."""
    recipe = shapes1d_recipe("recurrent", 0.53, patch_size=PATCH_SIZE, embed_dim=68, depth=2, cell="lstm")
    return with_adamw(recipe, 4e-3)


@recipes.register("shapes1d_attention")
def shapes1d_attention() -> StreamRecipe:
    """Softmax attention with sinusoidal positions: each shape asks the others of its kind."""
    return attention_recipe(0.03)
