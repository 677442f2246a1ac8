"""What CIFAR-10 teaches a ViT for twenty other classes: fine-tuned, behind a frozen backbone, and from scratch."""

from dataclasses import replace

from archaeology.recipes._imagenet20 import MEAN, SIZE, STD, test_images, training_images
from archaeology.recipes.recipe import Recipe, recipes
from archaeology.recipes.vit_cifar10 import vit_cifar10
from archaeology.training.config import TrainConfig

ORIGIN = "bundled:vit_cifar10"
EPOCHS = 10


@recipes.register("vit_tiny_imagenet20")
def vit_tiny_imagenet20() -> Recipe:
    """65 to 67 % of the 1,000 test images in 10 epochs from CIFAR-10's weights, all of them trained; seeds 0-2."""
    return replace(_scratch(), origin=ORIGIN)


@recipes.register("vit_tiny_imagenet20_frozen")
def vit_tiny_imagenet20_frozen() -> Recipe:
    """49 % from the same start, where only the head learns; seeds 0-2."""
    scratch = _scratch()
    changed = {"freeze": "backbone", "optimizer": "adamw", "learning_rate": 1e-2, "patch_keep": ()}
    return replace(scratch, origin=ORIGIN, config=scratch.config.model_copy(update=changed))


@recipes.register("vit_tiny_imagenet20_scratch")
def vit_tiny_imagenet20_scratch() -> Recipe:
    """56 to 57 % with the same model, data and steps from fresh weights; seeds 0-2."""
    return _scratch()


def _scratch() -> Recipe:
    plain = vit_cifar10()
    return Recipe(
        architecture=plain.architecture,
        arguments={**plain.arguments, "image_size": SIZE[0]},
        mean=MEAN,
        std=STD,
        config=TrainConfig(
            epochs=EPOCHS,
            batch_size=100,
            learning_rate=0.01,
            other_learning_rate=1e-3,
            crop_padding=4,
            patch_keep=((0.0, 0.4), (0.7, 1.0)),
        ),
        training_images=training_images,
        test_images=test_images,
        start=plain.start,
    )
