"""ViT-B/16 fine-tuned from ImageNet on three data sets, for machines with a network and an accelerator.

Settings are the field's: those of `he2022masked` for fine-tuning (AdamW with rates that fall from block to block, drop
path 0.1, RandAugment, smoothed labels; theirs: 100 epochs, decay 0.65, Mixup 0.8 and CutMix) but milder, as the weights
(`steiner2022train`) have learned from labels before: decay 0.75, Mixup 0.2, averaged weights, gradients clipped.
Differs: crops come from a reflected border of 28 pixels, not from a random part of the image, and AdamW's second
moment has decay 0.95. No accuracy was measured here: what is tested is that each builds and takes its steps.
"""

from archaeology.models.timm_weights import from_timm
from archaeology.recipes._fine_tuning import EUROSAT, FOOD101, IMAGE_SIZE, PATHMNIST, SETTINGS, Images
from archaeology.recipes.recipe import Recipe, recipes

NAME = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
MEAN = STD = (0.5, 0.5, 0.5)
FINE_TUNING = {"layer_decay": 0.75, "drop_path": 0.1, "policy": "rand"}


@recipes.register("vit_base_food101")
def vit_base_food101() -> Recipe:
    """ViT-B/16 from timm's ImageNet weights on 101 dishes; accuracy not measured here."""
    return fine_tuned(FOOD101, epochs=30)


@recipes.register("vit_base_eurosat")
def vit_base_eurosat() -> Recipe:
    """ViT-B/16 from timm's ImageNet weights on 10 kinds of land use; accuracy not measured here."""
    return fine_tuned(EUROSAT, epochs=20)


@recipes.register("vit_base_pathmnist")
def vit_base_pathmnist() -> Recipe:
    """ViT-B/16 from timm's ImageNet weights on 9 tissues; accuracy not measured here."""
    return fine_tuned(PATHMNIST, epochs=10)


def fine_tuned(images: Images, epochs: int) -> Recipe:
    """The recipe for these images."""
    architecture, arguments = from_timm(NAME, image_size=IMAGE_SIZE)
    return Recipe(
        architecture=architecture,
        arguments={key: value for key, value in arguments.items() if key != "num_classes"},
        mean=MEAN,
        std=STD,
        config=SETTINGS.model_copy(update={**FINE_TUNING, "epochs": epochs}),
        training_images=images.training,
        test_images=images.test,
        origin=f"timm:{NAME}",
    )
