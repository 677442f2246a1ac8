"""A recipe says in one place what is trained on what and how, so that a promised number can be made again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.registry import Registry
from archaeology.data.cache import DecodedImages
from archaeology.training.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Attributes:
        architecture: A registered model.
        arguments: What to build it with, besides the number of classes.
        mean: Of the normalisation, per channel in [0, 1].
        std: Of the normalisation.
        config: How to train; the command line may override fields.
        training_images: From where the user keeps the data (or None for the recipe's own place) to the images to
            train on, several sets laid end to end.
        test_images: Likewise, what the promised accuracy is measured on.
        start: Called once with the fresh model, some normalised training images and a generator, to set weights
            that depend on data.
    """

    architecture: str
    arguments: Mapping[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    config: TrainConfig
    training_images: Callable[[str | None], tuple[DecodedImages, ...]]
    test_images: Callable[[str | None], DecodedImages]
    start: Callable[[nn.Module, Tensor, torch.Generator], None]


@dataclass(frozen=True)
class SequenceRecipe:
    """An experiment on made-up sequences: a model says, for every token, what it should have become.

    Attributes:
        model: Makes the model; it maps (batch, token, embed) to the same shape and has `pattern(tokens)`.
        draw: Draws as many sequences as asked, and what each should become.
        steps: Optimizer steps of an epoch.
        config: How to train; the command line may override fields.
        readings: Named numbers about the mean pattern of every head.
    """

    model: Callable[[], nn.Module]
    draw: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
    steps: int
    config: TrainConfig
    readings: Callable[[Float[Tensor, "head query key"]], Mapping[str, float]]


recipes: Registry[Callable[[], Recipe | SequenceRecipe]] = Registry("recipe")
