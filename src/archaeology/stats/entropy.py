"""Entropy says how widely a head spreads its attention: 0 for one key, log(keys) for all alike."""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Pattern
from archaeology.stats.rows import PerRow, Rows, Statistic, statistics


def entropy(pattern: Pattern) -> PerRow:
    """Shannon entropy over the keys of every row, in nats, of the row divided by its sum.

    Args:
        pattern: Weights >= 0; zeros count as 0 log 0 = 0. A row of zeros gives NaN.

    References:
        `shannon1948mathematical`. With S the row's sum: `log S - (sum of p log p) / S`.
    """
    total = pattern.sum(dim=-1)
    # torch.special.entr knows about zero by itself, and takes more than twice as long.
    logarithm = pattern.clamp(min=torch.finfo(pattern.dtype).tiny).log_()
    return total.log() - logarithm.mul_(pattern).sum(dim=-1) / total


def entropy_of_scores(
    pattern: Pattern, scores: Float[Tensor, "batch head query key"], strongest: PerRow
) -> PerRow:
    """The same without a logarithm for each weight: the expected score below the logarithm of the sum of exp(scores).

    That logarithm is the largest score minus the log of its weight, which is never small. Logarithms for all weights
    take ten times as long as this, and longer than the attention itself.

    Args:
        pattern: `softmax(scores)`, without mask.
        scores: Finite numbers.
        strongest: The largest weight of each row.
    """
    highest = scores.amax(dim=-1)
    return (highest - torch.linalg.vecdot(pattern, scores) - strongest.log()).clamp(min=0)


def _of_rows(rows: Rows) -> PerRow:
    if rows.scores is None:
        return entropy(rows.pattern)
    return entropy_of_scores(rows.pattern, rows.scores, rows.strongest)


statistics.register("entropy")(Statistic(_of_rows, "entropy over keys", "nats"))
