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
    # The logarithm is the cost; torch.special.entr, which knows about zero, takes nearly twice as long.
    logarithm = pattern.clamp(min=torch.finfo(pattern.dtype).tiny).log_()
    return total.log() - torch.linalg.vecdot(pattern, logarithm) / total


statistics.register("entropy")(Statistic(lambda rows: entropy(rows.pattern), "entropy over keys", "nats"))
