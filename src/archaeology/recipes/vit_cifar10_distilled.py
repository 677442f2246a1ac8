"""A ViT with a seat for a teacher learns CIFAR-10 from labels and from a CNN, and the same without the teacher."""

from dataclasses import replace

from archaeology.recipes.recipe import Recipe, recipes
from archaeology.recipes.vit_cifar10 import vit_cifar10

TEACHER = "bundled:convnet_cifar10"
EPOCHS = 6


@recipes.register("vit_cifar10_distilled")
def vit_cifar10_distilled() -> Recipe:
    """74 % in 6 epochs: the label teaches the class token, a CNN's softened probabilities the other; seeds 0-2."""
    return _deit("soft", TEACHER)


@recipes.register("vit_cifar10_distilled_hard")
def vit_cifar10_distilled_hard() -> Recipe:
    """73 % with the CNN's answer as a second label, as DeiT does it; seeds 0-2."""
    return _deit("hard", TEACHER)


@recipes.register("vit_cifar10_undistilled")
def vit_cifar10_undistilled() -> Recipe:
    """72 % with the same model and steps and no teacher: both tokens learn the label; seeds 0-2."""
    return _deit("none", None)


def _deit(distill: str, teacher: str | None) -> Recipe:
    plain = vit_cifar10()
    config = plain.config.model_copy(update={"epochs": EPOCHS, "distill": distill, "label_smoothing": 0.0})
    arguments = {**plain.arguments, "positions": "sinusoidal"}
    return replace(plain, architecture="deit", arguments=arguments, config=config, teacher=teacher)
