"""Sparsity says whether a head looks at few keys or many, in three ways that weigh the tail differently.

The participation ratio is the effective number of keys over their number, `(sum p)^2 / (keys * sum p^2)`: 1
for all keys alike, 1/keys for a single one. The largest weight looks at the strongest key alone. The Gini
coefficient (0 equal, near 1 for a single key) needs a sort, many times the cost of the attention itself, so
a survey takes it on a few rows only.
"""

import numpy as np
import torch
from torch import Tensor

from archaeology.core.shapes import Pattern
from archaeology.stats.rows import PerRow, Statistic, statistics


def participation(pattern: Pattern) -> PerRow:
    """Effective number of keys divided by their number, in (0, 1]; a row of zeros gives NaN."""
    effective = (pattern.sum(dim=-1) / torch.linalg.vector_norm(pattern, dim=-1)).square()
    return effective / pattern.shape[-1]


def largest_weight(pattern: Pattern) -> PerRow:
    """Share of the strongest key, in (0, 1]; a row of zeros gives NaN."""
    return pattern.amax(dim=-1) / pattern.sum(dim=-1)


def gini(pattern: Pattern) -> PerRow:
    """Gini coefficient over the keys of every row, in [0, 1): half the mean difference, over the mean.

    With weights sorted upwards and i from 1: `sum((2 i - n - 1) p_i) / (n sum p)`. A row of zeros gives NaN.
    """
    n = pattern.shape[-1]
    factor = 2 * torch.arange(1, n + 1, device=pattern.device, dtype=pattern.dtype) - n - 1
    return torch.linalg.vecdot(_sorted(pattern), factor) / (n * pattern.sum(dim=-1))


def _sorted(pattern: Tensor) -> Tensor:
    """Keys in rising order; on a CPU NumPy's vector sort takes a twentieth of the time of PyTorch's."""
    if pattern.device.type == "cpu" and not pattern.requires_grad and pattern.dtype != torch.bfloat16:
        return torch.from_numpy(np.sort(pattern.numpy(), axis=-1))
    return pattern.sort(dim=-1).values


statistics.register("participation")(
    Statistic(lambda rows: participation(rows.pattern), "participation ratio: effective keys / keys")
)
statistics.register("largest_weight")(
    Statistic(lambda rows: rows.strongest / rows.total, "largest attention weight")
)
statistics.register("gini")(
    Statistic(lambda rows: gini(rows.pattern), "Gini coefficient, on sampled rows", sampled=True)
)
