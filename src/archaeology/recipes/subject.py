"""What is trained on what: a model with its start, images, perhaps a teacher; all checked before the first step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from archaeology.core.seeding import torch_generator
from archaeology.data.cache import DecodedImages
from archaeology.models.drop_path import set_drop_path
from archaeology.models.registry import build
from archaeology.recipes.batches import AugmentedBatches
from archaeology.recipes.folder import RunOptions
from archaeology.recipes.recipe import Recipe
from archaeology.recipes.start import Start, heads_of, start_from
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from archaeology.training.adversarial import Adversary, adversary_of
from archaeology.training.config import TrainConfig
from archaeology.training.distillation import Distillation
from archaeology.training.layers import freeze
from archaeology.training.runtime import Runtime
from archaeology.training.schedule import stage_value
from archaeology.training.step import Objective

NUM_WHITENING = 5_000


@dataclass(frozen=True)
class Subject:
    """What is trained on what: a model with its start, images, and a teacher if it has one.

    Attributes:
        start: The model and where its weights come from.
        specimen: The same model with its preparation of images.
        batches: What it trains on.
        training: The training images, of the first set.
        test: What it is measured on.
        about: Facts for the card: data, teacher, origin, what is frozen.
    """

    start: Start
    specimen: Specimen
    batches: AugmentedBatches
    training: DecodedImages
    test: DecodedImages
    about: dict[str, Any]

    @staticmethod
    def of(
        name: str, recipe: Recipe, config: TrainConfig, options: RunOptions, runtime: Runtime
    ) -> "Subject":
        """Open the data, build the model, set its weights, freeze, find the teacher."""
        sets, test = recipe.training_images(options.data), recipe.test_images(options.data)
        # One set alone stays on the disk: read as a memory map, it need not fit into memory.
        pixels = sets[0].images if len(sets) == 1 else np.concatenate([part.images for part in sets])
        images = torch.from_numpy(pixels)
        labels = torch.from_numpy(np.concatenate([part.labels for part in sets]))
        check_labels(sets, test)
        height, width = images.shape[-2:]
        origin = options.origin or recipe.origin
        torch.manual_seed(config.seed)  # initial weights
        start = (
            start_from(origin, len(test.classes), (height, width))
            if origin is not None
            else fresh(recipe, len(test.classes))
        )
        specimen = Specimen(name, start.model, "other", test.classes, (height, width), start.mean, start.std)
        if origin is None and recipe.start is not None:
            chosen = torch.randperm(len(images), generator=torch_generator(config.seed, "whitening"))
            some = specimen.prepare(images[chosen[:NUM_WHITENING]])
            recipe.start(start.model, some, torch_generator(config.seed, "start"))
        if config.drop_path:
            set_drop_path(start.model, config.drop_path)
        frozen = freeze(start.model, config.freeze, start.heads)
        teacher = find_teacher(options.teacher or recipe.teacher, config, test, runtime)
        start.model.to(runtime.device)
        about = {
            "data": describe(sets, test),
            **({"teacher": teacher.name} if teacher else {}),
            **({"origin": origin} if origin else {}),
            **({"frozen": len(frozen)} if frozen else {}),
        }
        batches = AugmentedBatches(specimen, images, labels, config, runtime, teacher)
        return Subject(start, specimen, batches, sets[0], test, about)

    def objective(self) -> Objective | None:
        """None for plain cross-entropy."""
        config = self.batches.config
        if self.batches.teacher is not None:
            return Distillation(
                config.distill, config.distill_weight, config.temperature, config.label_smoothing
            )
        return partial(mean_of_heads, label_smoothing=config.label_smoothing)

    def adversary(self) -> Adversary | None:
        """What changes the images before every step, if the configuration asks for that."""
        return adversary_of(self.batches.config, self.start.mean, self.start.std)

    def on_progress(self) -> Callable[[float], None] | None:
        """Sets what a schedule changes: the share of patches that are kept."""
        stages = self.batches.config.patch_keep
        if not stages:
            return None

        def set_patch_keep(progress: float) -> None:
            setattr(self.start.model, "patch_keep", stage_value(progress, stages))  # noqa: B010, only some have it

        return set_patch_keep


def mean_of_heads(said: Any, targets: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
    """Cross-entropy; of a model that says several things and has no teacher, the mean over them."""
    answers = said if isinstance(said, tuple) else (said,)
    losses = [F.cross_entropy(answer, targets, label_smoothing=label_smoothing) for answer in answers]
    return torch.stack(losses).mean()


def fresh(recipe: Recipe, num_classes: int) -> Start:
    """The recipe's model with weights drawn anew."""
    arguments = {**recipe.arguments, "num_classes": num_classes}
    heads = heads_of(recipe.architecture, arguments)
    model = build(recipe.architecture, arguments)
    return Start(model, recipe.architecture, arguments, recipe.mean, recipe.std, heads)


def find_teacher(
    spec: str | None, config: TrainConfig, test: DecodedImages, runtime: Runtime
) -> Specimen | None:
    """The specimen to learn from, if the configuration asks for one.

    Raises:
        ValueError: If one is asked for and none named, or the other way round, or it knows other classes.
    """
    if config.distill == "none":
        if spec is not None:
            raise ValueError(f"--teacher {spec} needs --distill soft or hard to say how to learn from it.")
        return None
    if spec is None:
        raise ValueError(
            f"--distill {config.distill} needs a teacher: name a specimen by --teacher, such as run:FOLDER."
        )
    teacher = load(spec, device=str(runtime.device))
    if tuple(teacher.classes) != tuple(test.classes):
        raise ValueError(
            f"a teacher must know the classes of the data, in their order, but {spec} knows "
            f"{len(teacher.classes)} ({few(teacher.classes)}) and {test.name} has {len(test.classes)} "
            f"({few(test.classes)})."
        )
    return teacher


def check_labels(sets: tuple[DecodedImages, ...], test: DecodedImages) -> None:
    """Raise unless all sets have the same classes and every training image has a label.

    Raises:
        ValueError: Naming the set.
    """
    for part in sets:
        if tuple(part.classes) != tuple(test.classes):
            raise ValueError(
                f"training and test images must have the same classes, but {part.name} {part.split} has "
                f"{few(part.classes)} and {test.name} {test.split} has {few(test.classes)}."
            )
        if (part.labels < 0).any():
            raise ValueError(f"every training image needs a label, but some of {part.name} have none.")


def few(names: Any, most: int = 3) -> str:
    """The first of many names."""
    return ", ".join(list(names)[:most]) + (", ..." if len(names) > most else "")


def describe(sets: tuple[DecodedImages, ...], test: DecodedImages) -> dict[str, Any]:
    """What was trained and measured on, for the card."""
    return {
        "training": " + ".join(f"{part.name} {part.split} ({len(part):,})" for part in sets),
        "training_fingerprint": "+".join(part.fingerprint[:16] for part in sets),
        "num_training": sum(len(part) for part in sets),
        "test": f"{test.name} {test.split} ({len(test):,})",
        "test_fingerprint": test.fingerprint[:16],
    }
