"""A recipe says in one place what is trained on what and how, so that a promised number can be made again."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archaeology.core.registry import Registry
from archaeology.data.cache import DecodedImages
from archaeology.data.worlds.ratio import Ratio
from archaeology.training.config import TrainConfig

Stream = Callable[[int, int, int], Iterator[tuple[Any, Any]]]
Score = Callable[[nn.Module, int], Mapping[str, Ratio]]


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
            that depend on data; not called where weights come from a specimen. None leaves them as they were drawn.
        origin: A specimen whose weights it starts from; None for fresh ones.
        teacher: A specimen that it learns from, if its configuration says to distill.
    """

    architecture: str
    arguments: Mapping[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    config: TrainConfig
    training_images: Callable[[str | None], tuple[DecodedImages, ...]]
    test_images: Callable[[str | None], DecodedImages]
    start: Callable[[nn.Module, Tensor, torch.Generator], None] | None = None
    origin: str | None = None
    teacher: str | None = None


@dataclass(frozen=True)
class Promise:
    """A score that a recipe reaches with every seed it was tried with.

    Attributes:
        score: Its name.
        bound: What it does not exceed, or does not fall below.
        is_upper: Whether lower is better, so that `bound` is not exceeded.
    """

    score: str
    bound: float
    is_upper: bool = True

    def holds(self, value: float) -> bool:
        """Whether a run that reached `value` kept it; NaN does not."""
        return value <= self.bound if self.is_upper else value >= self.bound

    def sentence(self) -> str:
        """For example "amplitude_error at most 0.05"."""
        return f"{self.score} {'at most' if self.is_upper else 'at least'} {self.bound:g}"


@dataclass(frozen=True)
class StreamRecipe:
    """An experiment on made-up examples without end: a model says what each should have become.

    Attributes:
        architecture: A registered model.
        arguments: What to build it with.
        stream: From a seed, a batch size and a number of batches to skip to (input, target) pairs without end, never
            those that are scored.
        steps: Optimizer steps of an epoch, after which the model is looked at.
        config: How to train; the command line may override fields.
        score: Scores of a model on this many held-out examples, always the same ones.
        promise: What the trained model reaches.
        objective: From what the model says and what it should say to a loss.
        figure: The figure of `archaeology.figures` that shows what was learned.
    """

    architecture: str
    arguments: Mapping[str, Any]
    stream: Stream
    steps: int
    config: TrainConfig
    score: Score
    promise: Promise
    objective: Callable[[Any, Any], Tensor] = F.mse_loss
    figure: str | None = None


@dataclass(frozen=True)
class SelfSupervisedRecipe:
    """An experiment on images whose labels are not looked at; a linear head is fitted when all is learned.

    Attributes:
        architecture: A registered model, the encoder; it must be a `ViT`.
        arguments: What to build it with, besides the number of classes.
        mean: Of the normalisation, per channel in [0, 1].
        std: Of the normalisation.
        config: How to train; the command line may override fields. Its augmentation is not used, `views` is.
        training_images: From where the user keeps the data (or None for the recipe's own place) to one set of images.
        test_images: Likewise, what the head is measured on.
        learner: Builds what is trained around the encoder; its attribute `encoder` is what is kept.
        views: From 8-bit images and a generator to the 8-bit views (a tensor, or a tuple of them) that it looks at.
        objective: From what the learner says of the views to a loss.
        start: As of a `Recipe`.
        on_progress: Called with the learner and the progress before every step.
    """

    architecture: str
    arguments: Mapping[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    config: TrainConfig
    training_images: Callable[[str | None], tuple[DecodedImages, ...]]
    test_images: Callable[[str | None], DecodedImages]
    learner: Callable[[Any], nn.Module]
    views: Callable[[Tensor, torch.Generator], Any]
    objective: Callable[[Any, Any], Tensor]
    start: Callable[[nn.Module, Tensor, torch.Generator], None] | None = None
    on_progress: Callable[[Any, float], None] | None = None


AnyRecipe = Recipe | StreamRecipe | SelfSupervisedRecipe
recipes: Registry[Callable[[], AnyRecipe]] = Registry("recipe")
