"""Train a classifier of images: train, save, load what was saved and measure that, so the card speaks of the file."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archaeology.core.intervals import Interval, wilson
from archaeology.core.provenance import provenance
from archaeology.core.seeding import torch_generator
from archaeology.core.storage import sha256_of_file, write_json
from archaeology.data.cache import DecodedImages
from archaeology.recipes.folder import DONE, RunOptions, forget_state, tracking
from archaeology.recipes.recipe import Recipe
from archaeology.recipes.subject import Subject
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen
from archaeology.training.adversarial import PGD_STEP, Adversary
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.runtime import Runtime, full_state

NUM_GLANCE = 2_000
NUM_ATTACKED_GLANCE, NUM_ATTACKED = 500, 1_000
ATTACK_STEPS_GLANCE, ATTACK_STEPS = 10, 20


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
        numbers = {
            f"{split}_accuracy_glance": accuracy(subject.specimen, images.take(NUM_GLANCE, seed=0)).value
            for split, images in glances.items()
        }
        if config.adversarial != "none":
            few = subject.test.take(NUM_ATTACKED_GLANCE, seed=0)
            reached = robust_accuracy(subject.specimen, few, config.epsilon, ATTACK_STEPS_GLANCE)
            numbers["robust_accuracy_glance"] = reached.value
        return numbers

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
            adversary=subject.adversary(),
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
    withstood = withstanding(saved, subject.test, config)
    save(**taken, test_accuracy=asdict(result), **withstood)
    if runtime.is_main:
        weights = {"sha256": sha256_of_file(out / "model.safetensors"), "dtype": config.weights}
        reached = {"accuracy": asdict(result), "train_accuracy": asdict(learnt), **withstood}
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


def robust_accuracy(
    specimen: Specimen, test: DecodedImages, epsilon: float, steps: int, *, batch_size: int = 250
) -> Interval:
    """Share of the test images named rightly whatever projected gradient descent did to them within `epsilon`.

    One start, steps of a quarter of `epsilon`: a first look, no substitute for `archaeology.attacks`.

    Args:
        specimen: Whose images are changed.
        test: Images and labels.
        epsilon: Radius of the L-infinity ball, for pixels in [0, 1].
        steps: Gradients that are taken.
        batch_size: Images at a time.
    """
    adversary = Adversary(epsilon, steps, PGD_STEP * epsilon, specimen.mean, specimen.std)
    generator = torch_generator(0, "robust accuracy")
    was_training = specimen.model.training
    specimen.model.eval()
    right = 0
    for images, labels, _ in test.batches(batch_size):
        truth = labels.to(specimen.device)

        def loss_of(changed: Tensor, truth: Tensor = truth) -> Tensor:
            return F.cross_entropy(specimen.model(changed), truth)

        with torch.enable_grad():
            found = adversary(specimen.prepare(images), loss_of, generator)
        with torch.inference_mode():
            right += int((specimen.model(found).argmax(dim=1) == truth).sum())
    specimen.model.train(was_training)
    return wilson(right, len(test))


def withstanding(specimen: Specimen, test: DecodedImages, config: TrainConfig) -> dict[str, Any]:
    """For the card of what was trained with an adversary: its accuracy under attack; nothing of any other."""
    if config.adversarial == "none":
        return {}
    few = test.take(NUM_ATTACKED, seed=0)
    reached = robust_accuracy(specimen, few, config.epsilon, ATTACK_STEPS)
    attack = f"pgd, {ATTACK_STEPS} steps, linf, epsilon {255 * config.epsilon:g}/255"
    return {"robust_accuracy": {**asdict(reached), "attack": attack}}


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
