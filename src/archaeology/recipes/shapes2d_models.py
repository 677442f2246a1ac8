"""Who can give a shape the mean colour of its kind? Five architectures on `shapes2d`, on the same samples."""

from archaeology.recipes._shapes1d import with_adamw
from archaeology.recipes._shapes2d import shapes2d_recipe
from archaeology.recipes.recipe import StreamRecipe, recipes


@recipes.register("shapes2d_fully_connected")
def shapes2d_fully_connected() -> StreamRecipe:
    """Every pixel to every pixel through 128 features: 12.6 million weights, none of them shared."""
    recipe = shapes2d_recipe("fully_connected", 3.3, shape=(3, 128, 128), widths=(128,))
    return with_adamw(recipe, 1e-3)


@recipes.register("shapes2d_unet")
def shapes2d_unet() -> StreamRecipe:
    """Convolutions on ever coarser maps, and back up."""
    return shapes2d_recipe("unet", 0.77)


@recipes.register("shapes2d_encoder_decoder")
def shapes2d_encoder_decoder() -> StreamRecipe:
    """Patches look at one another; patches of the answer ask them what to show."""
    return shapes2d_recipe("encoder_decoder", 0.19, encoder_depth=2, decoder_depth=2)


@recipes.register("shapes2d_encoder_only")
def shapes2d_encoder_only() -> StreamRecipe:
    """Patches look at one another and become the answer."""
    return shapes2d_recipe("encoder_decoder", 0.17, encoder_depth=4, decoder_depth=0)


@recipes.register("shapes2d_decoder_only")
def shapes2d_decoder_only() -> StreamRecipe:
    """Patches of the answer ask patches that have not looked at one another."""
    return shapes2d_recipe("encoder_decoder", 0.18, encoder_depth=0, decoder_depth=3)


@recipes.register("shapes2d_place_queries")
def shapes2d_place_queries() -> StreamRecipe:
    """Patches of the answer know nothing but their place, and must find even their own patch by attention."""
    return shapes2d_recipe("encoder_decoder", 0.89, queries="places")


@recipes.register("shapes2d_linear_patches")
def shapes2d_linear_patches() -> StreamRecipe:
    """Patches become tokens by one linear map, as in ViT, without the convolutions that look at them first."""
    return shapes2d_recipe("encoder_decoder", 0.7, stem="linear", encoder_depth=2, decoder_depth=2)
