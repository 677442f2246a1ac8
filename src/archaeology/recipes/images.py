"""Train a classifier of images: train, save, load what was saved and measure that, so the card speaks of the file."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from archaeology.core.intervals import Interval, wilson
from archaeology.core.provenance import provenance
from archaeology.core.storage import sha256_of_file, write_json
from archaeology.data.cache import DecodedImages
from archaeology.recipes.folder import DONE, RunOptions, forget_state, tracking
from archaeology.recipes.recipe import Recipe
from archaeology.recipes.subject import Subject
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.runtime import Runtime, full_state

NUM_GLANCE = 2_000


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


def run_images(
    name: str, recipe: Recipe, config: TrainConfig, out: Path, options: RunOptions, runtime: Runtime
) -> RecipeResult:
    """Train `recipe` into the folder `out`; every process must call this, the main one writes.

    Raises:
        ValueError: If data, teacher, origin or options do not fit together.
    """
    subject = Subject.of(name, recipe, config, options, runtime)
    record = provenance(config.seed, recipe=name, config=config.model_dump(), **subject.about)
    facts = {"recipe": name, "command": record["command"], "seed": config.seed, **subject.about}
    save = partial(_save, out, subject, config, runtime, facts)

    def after_epoch(epoch: int) -> dict[str, float]:
        save(state=f"unfinished, after {epoch + 1} epochs")
        glances = {"test": subject.test, "train": subject.training}
        return {
            f"{split}_accuracy_glance": accuracy(subject.specimen, images.take(NUM_GLANCE, seed=0)).value
            for split, images in glances.items()
        }

    if not (
        out / "config.json"
    ).is_file():  # so that the doctor knows the model even if the first step breaks
        save(state="unfinished, before the first step")
    with tracking(out, options.track, {**facts, "config": record["config"]}, runtime) as trackers:
        trained = train(
            subject.start.model,
            subject.batches,
            subject.batches.per_epoch,
            config,
            trackers=trackers,
            runtime=runtime,
            folder=out,
            on_progress=subject.on_progress(),
            on_epoch=after_epoch,
            objective=subject.objective(),
            identity={name: fact for name, fact in subject.about.items() if name != "frozen"},
        )
    taken = {
        "epochs": round(trained.images / len(subject.batches.images), 2),
        "seconds": round(trained.seconds),
    }
    save(**taken)  # first as it will be read back, so that what is measured is what was saved
    saved = load_run(out)
    result = accuracy(saved, subject.test)
    learnt = accuracy(saved, subject.training.take(NUM_GLANCE, seed=0))
    save(**taken, test_accuracy=asdict(result))
    if runtime.is_main:
        weights = {"sha256": sha256_of_file(out / "model.safetensors"), "dtype": config.weights}
        reached = {"accuracy": asdict(result), "train_accuracy": asdict(learnt)}
        write_json(out / DONE, {**record, "trained": asdict(trained), **reached, "weights": weights})
    forget_state(out, runtime)
    return RecipeResult(out, result, trained.seconds)


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


def _save(
    out: Path, subject: Subject, config: TrainConfig, runtime: Runtime, facts: dict[str, Any], **more: Any
) -> None:
    """Write the checkpoint; every process must call this, as each may hold a share of the weights."""
    start = subject.start
    tensors = full_state(start.model)
    if runtime.is_main:
        save_checkpoint(
            out,
            tensors,
            architecture=start.architecture,
            arguments=start.arguments,
            classes=subject.test.classes,
            image_size=subject.specimen.image_size,
            mean=start.mean,
            std=start.std,
            facts={**facts, **more},
            weights=config.weights,
        )
    runtime.wait()
