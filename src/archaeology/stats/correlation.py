"""Pearson's correlation, also from sums, and honest about numbers that do not vary: they correlate with nothing."""

import torch
from jaxtyping import Float
from torch import Tensor

CONSTANT = 1e-3  # a spread below this share of the mean is rounding and says nothing


def correlation(one: Float[Tensor, "... n"], other: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Pearson's correlation along the last axis, in [-1, 1]; NaN where one of the two does not vary.

    Not varying means a standard deviation of at most `CONSTANT` times the absolute mean.
    """
    means = one.mean(-1, keepdim=True), other.mean(-1, keepdim=True)
    varies = [
        x.std(-1, correction=0) > CONSTANT * mean[..., 0].abs()
        for x, mean in zip((one, other), means, strict=True)
    ]
    left, right = one - means[0], other - means[1]
    product = (left * right).sum(-1)
    norm = torch.linalg.vector_norm(left, dim=-1) * torch.linalg.vector_norm(right, dim=-1)
    return (product / norm).masked_fill(~(varies[0] & varies[1]), torch.nan)


def correlation_of_sums(
    n: Float[Tensor, "..."],
    sums: tuple[Float[Tensor, "..."], Float[Tensor, "..."]],
    squares: tuple[Float[Tensor, "..."], Float[Tensor, "..."]],
    product: Float[Tensor, "..."],
    offsets: tuple[float, float] = (0.0, 0.0),
) -> Float[Tensor, "..."]:
    """The same correlation from sums over n pairs; give doubles.

    Args:
        n: How many pairs.
        sums: Of each of the two.
        squares: Of the squares of each.
        product: Of the products.
        offsets: What was subtracted from each of the two before summing.
    """
    means = sums[0] / n, sums[1] / n
    variances = squares[0] / n - means[0] ** 2, squares[1] / n - means[1] ** 2
    varies = [
        variance > (CONSTANT * (mean + offset)) ** 2
        for variance, mean, offset in zip(variances, means, offsets, strict=True)
    ]
    covariance = product / n - means[0] * means[1]
    value = covariance / (variances[0].clamp(min=0) * variances[1].clamp(min=0)).sqrt()
    return value.clamp(-1, 1).masked_fill(~(varies[0] & varies[1]), torch.nan)
