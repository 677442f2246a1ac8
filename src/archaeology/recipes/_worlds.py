"""What the recipes of synthetic worlds share: the stream they train on and the samples they are scored on.

Within a world every recipe sees the same samples in the same order, as many of them, so that models can be compared.
Evaluation uses seed 0; a training with seed s uses the world of seed s + 1.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archaeology.data.worlds.ratio import Ratio

SCORED_AT_ONCE = 50


def stream_of(world: Callable[[int], Any]) -> Callable[[int, int, int], Iterator[tuple[Tensor, Tensor]]]:
    """The stream of a recipe on a world that is made from a seed."""

    def stream(seed: int, batch_size: int, skipped: int) -> Iterator[tuple[Tensor, Tensor]]:
        batches = world(seed + 1).batches(batch_size, start=skipped * batch_size)
        return (batch.pair() for batch in batches)

    return stream


def score_of(
    world: Callable[[int], Any], scores: Callable[[Any, Tensor], Mapping[str, Ratio]]
) -> Callable[[nn.Module, int], Mapping[str, Ratio]]:
    """The scores of a recipe on the first samples of the world of seed 0."""

    def score(model: nn.Module, count: int) -> dict[str, Ratio]:
        device = next(model.parameters()).device
        parts = []
        for start in range(0, count, SCORED_AT_ONCE):
            batch = world(0).generate(start, min(SCORED_AT_ONCE, count - start))
            parts.append(scores(batch, model(batch.pair()[0].to(device)).cpu()))
        return {name: joined([part[name] for part in parts]) for name in parts[0]}

    return score


def joined(ratios: list[Ratio]) -> Ratio:
    """The same score of several batches, end to end."""
    return Ratio(torch.cat([ratio.part for ratio in ratios]), torch.cat([ratio.whole for ratio in ratios]))
