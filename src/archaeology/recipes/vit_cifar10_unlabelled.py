"""The plain ViT of CIFAR-10 learns from the same images without their labels, in two ways, at the same size.

`caron2021emerging` (self-distillation) and `he2022masked` (masked autoencoding); a linear head is fitted afterwards.
"""

import math
from functools import partial

from torch import nn

from archaeology.data.augment.resized_crop import resized_crop
from archaeology.data.augment.views import MultiCrop
from archaeology.models.masked_autoencoder import MaskedAutoencoder
from archaeology.models.self_distillation import SelfDistillation
from archaeology.recipes._cifar10 import MEAN, STD, test_images, training_images
from archaeology.recipes.recipe import SelfSupervisedRecipe, recipes
from archaeology.recipes.vit_cifar10 import vit_cifar10, whiten_patches
from archaeology.training.config import TrainConfig
from archaeology.training.self_supervision import masked_loss, self_distillation_loss

FIRST_MOMENTUM = 0.99  # of the teacher; it rises to 1 along a cosine
ENCODER = {**vit_cifar10().arguments, "pooling": "class_token"}


@recipes.register("vit_cifar10_self_distilled")
def vit_cifar10_self_distilled() -> SelfSupervisedRecipe:
    """DINO, 14 epochs in 84 minutes: 61 % by 20 neighbours (random weights 34, pixels 35), linear 66 %; seed 0."""
    return SelfSupervisedRecipe(
        architecture="vit",
        arguments=ENCODER,
        mean=MEAN,
        std=STD,
        config=TrainConfig(
            epochs=14,
            batch_size=128,
            learning_rate=0.02,
            other_learning_rate=2e-3,
            schedule="cosine",
            warmup=0.1,
            clip=3.0,
        ),
        training_images=training_images,
        test_images=test_images,
        learner=SelfDistillation,
        views=MultiCrop(large_size=24),
        start=whiten_patches,
        objective=self_distillation_loss,
        on_progress=follow,
    )


@recipes.register("vit_cifar10_masked")
def vit_cifar10_masked() -> SelfSupervisedRecipe:
    """A masked autoencoder, 15 epochs in 27 minutes: 48 % by 20 neighbours (random weights 34), linear 54 %; seed 0."""
    return SelfSupervisedRecipe(
        architecture="vit",
        arguments={**ENCODER, "pooling": "mean"},
        mean=MEAN,
        std=STD,
        config=TrainConfig(
            epochs=15,
            batch_size=250,
            optimizer="adamw",
            learning_rate=1.5e-3,
            other_learning_rate=1.5e-3,
            schedule="cosine",
            warmup=0.1,
            weight_decay=0.05,
        ),
        training_images=training_images,
        test_images=test_images,
        learner=MaskedAutoencoder,
        views=partial(resized_crop, size=32, share=(0.4, 1.0)),
        objective=masked_loss,
    )


def follow(learner: nn.Module, progress: float) -> None:
    """Move the teacher; the further the training, the less."""
    assert isinstance(learner, SelfDistillation)
    learner.follow(1 - (1 - FIRST_MOMENTUM) * (1 + math.cos(math.pi * progress)) / 2)
