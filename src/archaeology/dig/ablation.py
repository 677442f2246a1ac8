"""Ablation inside a dig: every head, every layer and MLP, and how many heads can go.

Heads are done chunk by chunk, with means over the same images; layers and pruning are one part each.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from archaeology.ablate.heads import ablate_heads
from archaeology.ablate.layers import LayerAblation, ablate_layers
from archaeology.ablate.means import mean_head_outputs
from archaeology.ablate.pruning import PruningCurve, PruningOrder, pruning_curve
from archaeology.ablate.result import HeadAblation, joined
from archaeology.core.errors import MlpNotFoundError
from archaeology.core.names import plural
from archaeology.core.storage import sha256_of
from archaeology.dig.budget import affordable
from archaeology.dig.config import DigConfig
from archaeology.dig.labels import ClassMatch
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images, Predictions, each_chunk
from archaeology.specimens.specimen import Specimen
from archaeology.stats.specialization_sums import SpecializationSums

# What ablation may cost where nobody says how many images to take, in multiply-adds: minutes on two CPU cores.
BUDGET = {"cpu": 3e13, "cuda": 3e15}
FEWEST = 16
FEWEST_FOR_MEAN = (
    2  # the mean over one image is that image's own output: its effect is zero whatever the head does
)
# Lazy pruning tries a few sets of heads for each head that goes, and measures five orders of removal.
TRIED_PER_HEAD = 12
MOST_PRUNED_ON = 200


@dataclass(frozen=True, eq=False)
class Subject:
    """What is ablated on: some of the images, with the answers that count as right.

    Where the labels do not match the model's classes, its own predictions stand in: the effect on accuracy is then the
    share of images on which the removal changes the answer.
    """

    images: Images
    labels: np.ndarray

    @property
    def key(self) -> str:
        """A hash of the labels; parts are keyed by the images anyway."""
        return sha256_of(self.labels.tobytes())

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All images and labels."""
        return self.images.tensor(slice(0, len(self.images))), torch.from_numpy(self.labels)


def subject_of(images: Images, match: ClassMatch, said: Predictions, count: int, *, seed: int) -> Subject:
    """`count` of the images, drawn by seed."""
    rows = images.spread(count, seed)
    chosen = images.only(rows)
    labels = said.prediction[rows]
    if match.logit is not None and (images.decoded.labels >= 0).all():
        labels = match.logit[chosen.decoded.labels]
    return Subject(chosen, np.ascontiguousarray(labels))


def ablation_count(config: DigConfig, vit: Specimen, *, num_heads: int, available: int) -> int:
    """How many images to ablate on: as asked, or as many as the budget allows, never fewer than 16.

    All heads cost about half a pass each.
    """
    if config.ablation_images is not None:
        return min(config.ablation_images, available)
    return min(available, max(FEWEST, affordable(BUDGET, num_heads / 2, vit)))


def pruning_count(config: DigConfig, vit: Specimen, *, num_heads: int, available: int) -> int:
    """How many images to prune on: as asked, or as many as the budget allows, at most 200; 0 below 16."""
    if config.pruning_images is not None:
        return min(config.pruning_images, available)
    quick = min(affordable(BUDGET, num_heads * TRIED_PER_HEAD / 2, vit), available)
    return 0 if quick < FEWEST else min(quick, MOST_PRUNED_ON)


@dataclass(frozen=True)
class Ablations:
    """What taking parts out of the transformer did.

    Attributes:
        heads: Rows of `HeadAblation.table`.
        layers: Rows of `layers.parquet`.
        curve: Of pruning; None where that was not done.
        reason: Why heads and layers were not ablated; empty where they were.
    """

    heads: list[dict[str, Any]]
    layers: list[dict[str, Any]]
    curve: PruningCurve | None
    reason: str = ""

    def pruned(self, seed: int) -> dict[str, Any] | None:
        """The pruning part of `results.json`."""
        if self.curve is None:
            return None
        means = self.curve.mean_accuracies(seed)
        return {
            "num_chosen_on": self.curve.num_chosen_on,
            "replacement": self.curve.replacement,
            "mean_accuracies": {name: asdict(interval) for name, interval in means.items()},
        }


def ablations(
    vit: Specimen,
    fingerprint: str,
    images: Images,
    match: ClassMatch,
    said: Predictions,
    parts: Parts,
    config: DigConfig,
    sums: SpecializationSums,
) -> Ablations:
    """Heads one by one, layers and MLPs one by one, and heads one after another."""
    num_heads, seed = len(sums.figures.modules), config.seed
    count = ablation_count(config, vit, num_heads=num_heads, available=len(images))
    heads: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    reason = _why_not(count)
    if not reason:
        subject = subject_of(images, match, said, count, seed=seed)
        heads = ablate(vit, fingerprint, subject, parts, seed=seed)
        layers = ablate_parts(vit, fingerprint, subject, parts, seed=seed)
    count = pruning_count(config, vit, num_heads=num_heads, available=len(images))
    if count < 2:
        return Ablations(heads, layers, None, reason)
    to_prune = subject_of(images, match, said, count, seed=seed)
    return Ablations(heads, layers, prune(vit, fingerprint, to_prune, parts, seed=seed), reason)


def _why_not(count: int) -> str:
    """Why heads cannot be ablated on so few images; "" where they can."""
    if count >= FEWEST_FOR_MEAN:
        return ""
    had = plural(count, "image")
    return f"there was only {had} to take means over, and the mean of a head needs at least {FEWEST_FOR_MEAN}"


def ablate(
    vit: Specimen, fingerprint: str, subject: Subject, parts: Parts, *, seed: int
) -> list[dict[str, Any]]:
    """The effect of every head, as `HeadAblation.table` has it."""
    means = mean_outputs(vit, fingerprint, subject.images, parts)
    ingredients = (fingerprint, sha256_of(*(mean.numpy().tobytes() for mean in means)), subject.key)

    def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
        truth = torch.from_numpy(np.ascontiguousarray(subject.labels[some]))
        return ablate_heads(vit, batch, truth, means=means).arrays()

    found = each_chunk("ablate", subject.images, parts, ingredients, of_chunk)
    return joined([HeadAblation.from_arrays(part) for part in found]).table(seed)


def ablate_parts(
    vit: Specimen, fingerprint: str, subject: Subject, parts: Parts, *, seed: int
) -> list[dict[str, Any]]:
    """The effect of every attention layer and MLP, as `LayerAblation.table` has it; attention alone where MLPs hide."""

    def compute() -> Arrays:
        images, labels = subject.tensors()
        try:
            return ablate_layers(vit, images, labels, seed=seed).arrays()
        except MlpNotFoundError:
            return ablate_layers(vit, images, labels, seed=seed, with_mlps=False).arrays()

    key = (fingerprint, subject.key, subject.images.key(slice(0, len(subject.images))))
    return LayerAblation.from_arrays(parts.get("ablate-layers", key, len(subject.images), compute)).table(
        seed
    )


def prune(vit: Specimen, fingerprint: str, subject: Subject, parts: Parts, *, seed: int) -> PruningCurve:
    """How accuracy falls as heads go, the least missed first."""

    def compute() -> Arrays:
        images, labels = subject.tensors()
        return _arrays_of(pruning_curve(vit, images, labels, lazy=True, seed=seed))

    key = (fingerprint, str(seed), subject.key, subject.images.key(slice(0, len(subject.images))))
    return _curve_of(parts.get("prune", key, len(subject.images), compute))


def _arrays_of(curve: PruningCurve) -> Arrays:
    arrays: dict[str, np.ndarray] = {
        "names": np.array([order.name for order in curve.orders]),
        "counts": np.array([curve.num_chosen_on, curve.num_tried]),
        "replacement": np.array(curve.replacement),
    }
    for number, order in enumerate(curve.orders):
        arrays |= {
            f"removed{number}": np.array(order.removed),
            f"correct{number}": order.correct,
            f"loss{number}": order.loss,
        }
    return arrays


def _curve_of(arrays: Mapping[str, np.ndarray]) -> PruningCurve:
    orders = [
        PruningOrder(
            str(name),
            tuple((int(layer), int(head)) for layer, head in arrays[f"removed{number}"]),
            arrays[f"correct{number}"],
            arrays[f"loss{number}"],
        )
        for number, name in enumerate(arrays["names"])
    ]
    chosen_on, tried = (int(count) for count in arrays["counts"])
    return PruningCurve(tuple(orders), chosen_on, tried, str(arrays["replacement"]))


def mean_outputs(vit: Specimen, fingerprint: str, images: Images, parts: Parts) -> tuple[torch.Tensor, ...]:
    """What each head says on average over these images, on the CPU."""

    def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
        outputs = mean_head_outputs(vit, batch)
        return {str(layer): output.cpu().numpy() * len(batch) for layer, output in enumerate(outputs)}

    found = list(each_chunk("means", images, parts, (fingerprint,), of_chunk))
    return tuple(
        torch.from_numpy(sum(part[str(layer)] for part in found) / len(images))
        for layer in range(len(found[0]))
    )
