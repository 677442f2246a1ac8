"""A small Swin on CIFAR-10: attention in windows of 4 x 4, three stages."""

from archaeology.recipes._cifar10 import MEAN, STD, test_images, training_images
from archaeology.recipes.recipe import Recipe, recipes
from archaeology.training.config import TrainConfig


@recipes.register("swin_cifar10")
def swin_cifar10() -> Recipe:
    """1.1 M parameters on 16 x 16 tokens; the promise waits for its run."""
    return Recipe(
        architecture="swin",
        arguments={
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 48,
            "depths": (2, 2, 2),
            "num_heads": (2, 4, 8),
            "window": 4,
            "mlp_ratio": 2.0,
        },
        mean=MEAN,
        std=STD,
        config=TrainConfig(
            epochs=12, batch_size=256, learning_rate=0.02, other_learning_rate=2e-3, drop_path=0.05
        ),
        training_images=training_images,
        test_images=test_images,
    )
