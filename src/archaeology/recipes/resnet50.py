"""ResNet-50 fine-tuned from ImageNet on three data sets, for machines with a network and an accelerator.

Settings are the field's: those by which torchvision made its present weights (`vryniotis2021train`: TrivialAugment,
Mixup 0.2, random erasing 0.1, smoothed labels, averaged weights, a cosine after a rise). Differs: AdamW instead of SGD,
no CutMix, gradients clipped, and far fewer epochs, as the start is trained. Averaged weights meet the running
statistics of the last ones. No accuracy was measured here: what is tested is that each builds and takes its steps.
"""

from archaeology.recipes._fine_tuning import EUROSAT, FOOD101, IMAGE_SIZE, PATHMNIST, SETTINGS, Images
from archaeology.recipes.recipe import Recipe, recipes

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FINE_TUNING = {"policy": "trivial", "erasing": 0.1}


@recipes.register("resnet50_food101")
def resnet50_food101() -> Recipe:
    """ResNet-50 from torchvision's ImageNet weights on 101 dishes; accuracy not measured here."""
    return fine_tuned(FOOD101, epochs=30)


@recipes.register("resnet50_eurosat")
def resnet50_eurosat() -> Recipe:
    """ResNet-50 from torchvision's ImageNet weights on 10 kinds of land use; accuracy not measured here."""
    return fine_tuned(EUROSAT, epochs=20)


@recipes.register("resnet50_pathmnist")
def resnet50_pathmnist() -> Recipe:
    """ResNet-50 from torchvision's ImageNet weights on 9 tissues; accuracy not measured here."""
    return fine_tuned(PATHMNIST, epochs=10)


def fine_tuned(images: Images, epochs: int) -> Recipe:
    """The recipe for these images."""
    return Recipe(
        architecture="resnet50",
        arguments={"image_size": IMAGE_SIZE},
        mean=MEAN,
        std=STD,
        config=SETTINGS.model_copy(update={**FINE_TUNING, "epochs": epochs}),
        training_images=images.training,
        test_images=images.test,
        origin="torchvision:resnet50?weights=IMAGENET1K_V2",
    )
