"""Run a recipe: train, save, load what was saved and measure that, so the card speaks of the file."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archaeology.core.intervals import Interval, wilson
from archaeology.core.provenance import provenance
from archaeology.core.seeding import torch_generator
from archaeology.core.storage import sha256_of_file, write_json
from archaeology.data.augment import crop_and_flip
from archaeology.data.cache import DecodedImages
from archaeology.models.registry import build
from archaeology.recipes.recipe import StreamRecipe, recipes
from archaeology.recipes.stream import StreamResult, run_stream
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.schedule import stage_value
from archaeology.training.trackers import open_trackers

NUM_WHITENING, NUM_GLANCE = 5_000, 2_000


@dataclass(frozen=True)
class RecipeResult:
    """Where the trained checkpoint lies, and its accuracy on the test images."""

    folder: Path
    accuracy: Interval
    seconds: float

    def sentence(self) -> str:
        """What was reached, for people."""
        reached = self.accuracy
        interval = f"95 % interval {reached.low:.4f} to {reached.high:.4f}, n = {reached.n}"
        return f"accuracy {reached.value:.4f} ({interval})"

    def numbers(self) -> dict[str, Any]:
        """What was reached, for programs."""
        return {"accuracy": asdict(self.accuracy), "seconds": self.seconds}


def run_recipe(
    name: str,
    out: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    data: str | None = None,
    tensorboard: bool = False,
) -> RecipeResult | StreamResult:
    """Train the recipe called `name` into the checkpoint folder `out`.

    Args:
        name: A registered recipe.
        out: Folder for weights, card, `metrics.jsonl` and `run.json`.
        overrides: Fields of `TrainConfig` to change.
        data: Where the images are, as for `archaeology dig --data`; None for the recipe's own place.
        tensorboard: Also write TensorBoard files.

    Raises:
        UnknownNameError: If there is no such recipe.
        ValueError: If an override or the data does not fit.
    """
    recipe = recipes.get(name)()
    config = TrainConfig.model_validate({**recipe.config.model_dump(), **(overrides or {})})
    if isinstance(recipe, StreamRecipe):
        return run_stream(name, recipe, config, out, data=data, tensorboard=tensorboard)
    sets, test = recipe.training_images(data), recipe.test_images(data)
    images = torch.from_numpy(np.concatenate([part.images for part in sets]))
    labels = torch.from_numpy(np.concatenate([part.labels for part in sets]))
    arguments = {**recipe.arguments, "num_classes": len(test.classes)}
    torch.manual_seed(config.seed)  # initial weights and dropped patches
    model = build(recipe.architecture, arguments)
    height, width = images.shape[-2:]
    specimen = Specimen(name, model, "other", test.classes, (height, width), recipe.mean, recipe.std)
    chosen = torch.randperm(len(images), generator=torch_generator(config.seed, "whitening"))[:NUM_WHITENING]
    recipe.start(model, specimen.prepare(images[chosen]), torch_generator(config.seed, "start"))

    record = provenance(config.seed, recipe=name, config=config.model_dump(), data=_describe(sets, test))
    facts = {"recipe": name, "command": record["command"], "seed": config.seed, "data": _describe(sets, test)}
    tracked = {**facts, "config": record["config"]}
    trackers = open_trackers(out, ["tensorboard"] if tensorboard else [], facts=tracked)

    def save(**more: Any) -> None:
        save_checkpoint(
            out,
            model,
            architecture=recipe.architecture,
            arguments=arguments,
            classes=test.classes,
            image_size=(height, width),
            mean=recipe.mean,
            std=recipe.std,
            facts={**facts, **more},
            weights=config.weights,
        )

    def after_epoch(epoch: int) -> dict[str, float]:
        save(state=f"unfinished, after {epoch + 1} epochs")
        return {"test_accuracy_glance": accuracy(specimen, test.take(NUM_GLANCE, seed=0)).value}

    def set_patch_keep(progress: float) -> None:
        setattr(model, "patch_keep", stage_value(progress, config.patch_keep))  # noqa: B010, only some models have it

    trained = train(
        model,
        lambda epoch: augmented_batches(specimen, images, labels, config, epoch),
        max(1, len(images) // config.batch_size),
        config,
        trackers=trackers,
        on_progress=set_patch_keep if config.patch_keep else None,
        on_epoch=after_epoch,
    )
    for tracker in trackers:
        tracker.close()
    taken = {"epochs": round(trained.images / len(images), 2), "seconds": round(trained.seconds)}
    save(**taken)  # first as it will be read back, so that what is measured is what was saved
    result = accuracy(load_run(out), test)
    save(**taken, test_accuracy=asdict(result))
    weights = {"sha256": sha256_of_file(out / "model.safetensors"), "dtype": config.weights}
    write_json(
        out / "run.json",
        {**record, "trained": asdict(trained), "accuracy": asdict(result), "weights": weights},
    )
    return RecipeResult(out, result, trained.seconds)


def augmented_batches(
    specimen: Specimen, images: Tensor, labels: Tensor, config: TrainConfig, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: shuffled, cropped and mirrored at random, normalised; the last incomplete batch is left out."""
    generator = torch_generator(config.seed, "epoch", epoch)
    order = torch.randperm(len(images), generator=generator)
    for chosen in order.split(config.batch_size):
        if len(chosen) == min(config.batch_size, len(images)):
            batch = crop_and_flip(images[chosen], generator, padding=config.crop_padding, flip=config.flip)
            yield specimen.prepare(batch), labels[chosen]


@torch.inference_mode()
def accuracy(specimen: Specimen, test: DecodedImages, *, batch_size: int = 500) -> Interval:
    """Share of the test images that the specimen names rightly, with Wilson's interval."""
    was_training = specimen.model.training
    specimen.model.eval()
    right = sum(
        int((specimen.predict(images).argmax(dim=1).cpu() == labels).sum())
        for images, labels, _ in test.batches(batch_size)
    )
    specimen.model.train(was_training)
    return wilson(right, len(test))


def _describe(sets: tuple[DecodedImages, ...], test: DecodedImages) -> dict[str, Any]:
    return {
        "training": " + ".join(f"{part.name} {part.split} ({len(part):,})" for part in sets),
        "training_fingerprint": "+".join(part.fingerprint[:16] for part in sets),
        "test": f"{test.name} {test.split} ({len(test):,})",
        "test_fingerprint": test.fingerprint[:16],
    }
