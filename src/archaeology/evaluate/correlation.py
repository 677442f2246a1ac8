"""Correlation row by row: Pearson's, and Spearman's on ranks in which equal values share their mean rank."""

import torch
from jaxtyping import Float
from torch import Tensor


def ranks(values: Float[Tensor, "batch place"]) -> Float[Tensor, "batch place"]:
    """Rank of each value in its row, the lowest 1; equal values share the mean of their ranks."""
    ordered = values.sort(dim=1).values.contiguous()
    below = torch.searchsorted(ordered, values.contiguous(), right=False)
    not_above = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (below + not_above + 1).to(values.dtype) / 2


def pearson(
    first: Float[Tensor, "batch place"], second: Float[Tensor, "batch place"]
) -> Float[Tensor, " batch"]:
    """Correlation of each pair of rows; 0 where a row is the same everywhere, for then nothing goes together."""
    return (_unit(first) * _unit(second)).sum(dim=1)


def spearman(
    first: Float[Tensor, "batch place"], second: Float[Tensor, "batch place"]
) -> Float[Tensor, " batch"]:
    """Correlation of the ranks of each pair of rows, 0 where a row is the same everywhere."""
    return pearson(ranks(first), ranks(second))


def _unit(rows: Float[Tensor, "batch place"]) -> Float[Tensor, "batch place"]:
    """Deviations from the mean with length one; zero where there is none beyond rounding."""
    apart = rows - rows.mean(dim=1, keepdim=True)
    largest = apart.abs().amax(dim=1, keepdim=True)
    rounding = 16 * torch.finfo(rows.dtype).eps * rows.abs().amax(dim=1, keepdim=True)
    scaled = torch.where(largest <= rounding, torch.zeros_like(rows), apart / largest)
    return scaled / scaled.norm(dim=1, keepdim=True).clamp(min=1)
