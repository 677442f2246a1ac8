"""Train an encoder without labels, then see what a straight line can read off it.

What is saved is a classifier like any other: the encoder as it was trained, and a linear head fitted to the frozen
features of the training images (`he2022masked` calls it a linear probe). So it opens as `run:FOLDER`, and every
analysis that works on a supervised model works on it.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archaeology.core.provenance import provenance
from archaeology.core.seeding import torch_generator
from archaeology.core.storage import sha256_of_file, write_json
from archaeology.data.cache import DecodedImages
from archaeology.models.registry import build
from archaeology.models.vit import ViT
from archaeology.recipes.batches import batches_of, shared_out
from archaeology.recipes.folder import DONE, RunOptions, forget_state, tracking
from archaeology.recipes.images import RecipeResult, accuracy
from archaeology.recipes.linear_head import fit_head, nearest_mean_accuracy
from archaeology.recipes.recipe import SelfSupervisedRecipe
from archaeology.recipes.subject import describe
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.runtime import Runtime, full_state

NUM_GLANCE, NUM_HEAD = 2_000, 20_000


@dataclass(frozen=True)
class ViewBatches:
    """Called with an epoch's number, yields views of images for this process; the last incomplete batch is left out.

    Attributes:
        specimen: Prepares images for the model.
        images: 8 bit, all of them.
        views: From images and a generator to what the learner looks at.
        config: Batch size, parts, seed.
        runtime: This process.
    """

    specimen: Specimen
    images: Tensor
    views: Callable[[Tensor, torch.Generator], Any]
    config: TrainConfig
    runtime: Runtime

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch; one, smaller, where there are fewer images than a batch has."""
        return batches_of(len(self.images), self.config)

    def __call__(self, epoch: int) -> Iterator[tuple[Any, Tensor]]:
        """Views, ready for the model, and which images they are of."""
        return shared_out(len(self.images), self.config, self.runtime, epoch, self._part)

    def _part(self, chosen: Tensor, address: tuple[int, int, int]) -> tuple[Any, Tensor]:
        generator = torch_generator(self.config.seed, "views", *address)
        views = self.views(self.images[chosen].to(self.runtime.device), generator)
        return self._prepared(views), chosen.to(self.runtime.device)

    def _prepared(self, views: Any) -> Any:
        if not isinstance(views, Tensor):
            return tuple(self._prepared(one) for one in views)
        return self.specimen.normalise(views.flatten(0, -4).float() / 255).unflatten(0, views.shape[:-3])


def run_self_supervised(
    name: str,
    recipe: SelfSupervisedRecipe,
    config: TrainConfig,
    out: Path,
    options: RunOptions,
    runtime: Runtime,
) -> RecipeResult:
    """Train `recipe` into the folder `out`; every process must call this, the main one writes.

    Raises:
        ValueError: If a teacher or an origin is given: it learns from images alone, and from the beginning.
    """
    for option in ("teacher", "origin"):
        if (given := getattr(options, option)) is not None:
            raise ValueError(
                f"{name} learns from images alone, so --{option} must be left out, but got {given!r}."
            )
    (training,), test = recipe.training_images(options.data), recipe.test_images(options.data)
    images = torch.from_numpy(training.images)
    size = (int(images.shape[-2]), int(images.shape[-1]))
    torch.manual_seed(config.seed)  # initial weights
    arguments = {**recipe.arguments, "num_classes": len(test.classes)}
    encoder = build(recipe.architecture, arguments)
    assert isinstance(encoder, ViT)
    specimen = Specimen(name, encoder, "other", test.classes, size, recipe.mean, recipe.std)
    if recipe.start is not None:
        chosen = torch.randperm(len(images), generator=torch_generator(config.seed, "whitening"))[:5_000]
        recipe.start(encoder, specimen.prepare(images[chosen]), torch_generator(config.seed, "start"))
    learner = recipe.learner(encoder).to(runtime.device)
    batches = ViewBatches(specimen, images, recipe.views, config, runtime)
    about = {"data": describe((training,), test)}
    record = provenance(config.seed, recipe=name, config=config.model_dump(), **about)
    facts = {"recipe": name, "command": record["command"], "seed": config.seed, **about}

    def save(**more: Any) -> None:
        kept = learner.encoder
        assert isinstance(kept, nn.Module)
        tensors = full_state(kept)
        if runtime.is_main:
            save_checkpoint(
                out,
                tensors,
                architecture=recipe.architecture,
                arguments=arguments,
                classes=test.classes,
                image_size=size,
                mean=recipe.mean,
                std=recipe.std,
                facts={**facts, **more},
                weights=config.weights,
            )
        runtime.wait()

    glance = [part.take(NUM_GLANCE, seed=0) for part in (training, test)]

    def after_epoch(epoch: int) -> dict[str, float]:
        save(state=f"unfinished, after {epoch + 1} epochs, without a head")
        known, asked = (features_of(learner.encoder, specimen, part) for part in glance)
        reached = nearest_mean_accuracy(known, glance[0].labels, asked, glance[1].labels)
        return {"nearest_mean_accuracy_glance": reached}

    if not (
        out / "config.json"
    ).is_file():  # so that the doctor knows the model even if the first step breaks
        save(state="unfinished, before the first step")
    with tracking(out, options.track, {**facts, "config": record["config"]}, runtime) as trackers:
        trained = train(
            learner,
            batches,
            batches.per_epoch,
            config,
            trackers=trackers,
            runtime=runtime,
            folder=out,
            on_progress=None if recipe.on_progress is None else partial(recipe.on_progress, learner),
            on_epoch=after_epoch,
            objective=recipe.objective,
            identity=about,
        )
    taken = {"epochs": round(trained.images / len(images), 2), "seconds": round(trained.seconds)}
    some = training.take(NUM_HEAD, seed=0)
    strength = fit_head(learner.encoder, features_of(learner.encoder, specimen, some), some.labels)
    head = {"images": len(some), "l2": strength, "kind": "multinomial logistic regression on frozen features"}
    save(**taken, linear_head=head)
    saved = load_run(out)
    result = accuracy(saved, test)
    learnt = accuracy(saved, training.take(NUM_GLANCE, seed=0))
    save(**taken, linear_head=head, test_accuracy=asdict(result))
    if runtime.is_main:
        weights = {"sha256": sha256_of_file(out / "model.safetensors"), "dtype": config.weights}
        reached = {"accuracy": asdict(result), "train_accuracy": asdict(learnt), "linear_head": head}
        write_json(out / DONE, {**record, "trained": asdict(trained), **reached, "weights": weights})
    forget_state(out, runtime)
    return RecipeResult(out, result, trained.seconds)


@torch.inference_mode()
def features_of(encoder: Any, specimen: Specimen, images: DecodedImages) -> np.ndarray:
    """What the head reads of each image [image, embed], leaving the encoder's mode as it was."""
    was_training = encoder.training
    encoder.eval()
    read = [
        encoder.read(encoder.encode(encoder.embed(specimen.prepare(batch)))).cpu()
        for batch, _, _ in images.batches(500)
    ]
    encoder.train(was_training)
    return torch.cat(read).numpy()
