"""Entropy says how widely a head spreads its attention: 0 for one key, log(keys) for all alike."""

import torch

from archaeology.core.shapes import Pattern
from archaeology.stats.rows import PerRow, Statistic, statistics


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


statistics.register("entropy")(Statistic(lambda rows: entropy(rows.pattern), "entropy over keys", "nats"))
