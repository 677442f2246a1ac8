"""Head ablation inside a dig: means over the same images first, then every head of every layer, chunk by chunk."""

from typing import Any

import numpy as np
import torch

from archaeology.ablate.heads import ablate_heads
from archaeology.ablate.means import mean_head_outputs
from archaeology.ablate.result import HeadAblation, joined
from archaeology.core.storage import sha256_of
from archaeology.dig.config import DigConfig
from archaeology.dig.labels import ClassMatch
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images, Predictions, each_chunk
from archaeology.specimens.specimen import Specimen

# What ablation may cost where nobody says how many images to take, in multiply-adds: minutes on two CPU cores.
BUDGET = {"cpu": 3e13, "cuda": 3e15}
FEWEST = 16


def ablation_count(config: DigConfig, vit: Specimen, *, num_heads: int, available: int) -> int:
    """How many images to ablate on: as asked, or as many as the budget allows, never fewer than 16.

    A pass costs about a multiply-add for each weight and token, and all heads cost about half a pass each.
    """
    if config.ablation_images is not None:
        return min(config.ablation_images, available)
    weights = sum(parameter.numel() for parameter in vit.model.parameters())
    tokens = vit.layout.num_tokens if vit.layout else 1
    cost = weights * tokens * num_heads / 2
    affordable = int(BUDGET.get(vit.device.type, BUDGET["cpu"]) / max(cost, 1))
    return min(available, max(FEWEST, affordable))


def ablate(
    vit: Specimen,
    fingerprint: str,
    images: Images,
    match: ClassMatch,
    said: Predictions,
    parts: Parts,
    config: DigConfig,
    *,
    num_heads: int,
) -> list[dict[str, Any]]:
    """The effect of every head, as `HeadAblation.table` has it.

    Where the labels do not match the model's classes, its own predictions stand in: the effect on accuracy is then the
    share of images on which the head's removal changes the answer.
    """
    count = ablation_count(config, vit, num_heads=num_heads, available=len(images))
    rows = images.spread(count, config.seed)
    chosen = images.only(rows)
    labels = said.prediction[rows]
    if match.logit is not None and (chosen.decoded.labels >= 0).all():
        labels = match.logit[chosen.decoded.labels]
    means = mean_outputs(vit, fingerprint, chosen, parts)
    ingredients = (
        fingerprint,
        sha256_of(*(mean.numpy().tobytes() for mean in means)),
        sha256_of(labels.tobytes()),
    )

    def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
        truth = torch.from_numpy(np.ascontiguousarray(labels[some]))
        return ablate_heads(vit, batch, truth, means=means).arrays()

    found = each_chunk("ablate", chosen, parts, ingredients, of_chunk)
    return joined([HeadAblation.from_arrays(part) for part in found]).table(config.seed)


def mean_outputs(vit: Specimen, fingerprint: str, images: Images, parts: Parts) -> tuple[torch.Tensor, ...]:
    """What each head says on average over these images, on the CPU."""

    def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
        outputs = mean_head_outputs(vit, batch)
        return {str(layer): output.cpu().numpy() * len(batch) for layer, output in enumerate(outputs)}

    found = each_chunk("means", images, parts, (fingerprint,), of_chunk)
    return tuple(
        torch.from_numpy(sum(part[str(layer)] for part in found) / len(images))
        for layer in range(len(found[0]))
    )
