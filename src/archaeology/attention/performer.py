"""Softmax attention by random features: `exp(q . k)` is the mean, over random directions, of a product of two numbers.

`choromanski2021rethinking`, FAVOR+: for Gaussian `w`, `exp(w . x - |x|^2 / 2)` is positive, and the mean over `w` of
its product for `q` and `k` is exactly `exp(q . k)`. The directions are made orthogonal in blocks, which lowers the
variance, with the lengths of Gaussian vectors, which keeps the mean exact.

Differs: no small number is added to the features, which would pull every row towards the mean of all values and hide
how large the error is; and in causal attention keys are written relative to the largest so far, not the largest of the
sequence, which would tell the past of the future. The variance grows as `exp(|q + k|^2)`: this needs short queries and
keys, small heads or normalisation, and more features only help slowly. Where queries and keys are both so long that no
product of features is within the range of float32, a row is zeros.
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.attention.feature_product import FeatureAttention
from archaeology.attention.mechanism import Facts, LayerShape, mechanisms


def orthogonal_directions(
    num_features: int, dim: int, generator: torch.Generator | None = None
) -> Float[Tensor, "feature dim"]:
    """Gaussian vectors that are orthogonal to each other within blocks of `dim`.

    Args:
        num_features: How many.
        dim: Features of a head.
        generator: Where randomness comes from; PyTorch's global one if None.
    """
    blocks = -(-num_features // dim)
    orthogonal, triangle = torch.linalg.qr(
        torch.randn(blocks, dim, dim, generator=generator, dtype=torch.float64)
    )
    # `mezzadri2007generate`: only if the diagonal is positive are all rotations equally likely.
    turned = orthogonal * triangle.diagonal(dim1=1, dim2=2).sign()[:, None]
    lengths = torch.randn(num_features, dim, generator=generator, dtype=torch.float64).norm(dim=1)
    return (turned.flatten(0, 1)[:num_features] * lengths[:, None]).float()


def log_features(
    inputs: Float[Tensor, "*token dim"], directions: Float[Tensor, "feature dim"]
) -> Float[Tensor, "*token feature"]:
    """Logarithms of the features: the mean of `exp(features of q + features of k)` is `exp(q . k / sqrt(dim))`."""
    return projected(inputs, directions) - energy(inputs)


def projected(inputs: Tensor, directions: Tensor) -> Tensor:
    """Products with the directions; half of the scale `1 / sqrt(dim)` goes to the queries and half to the keys."""
    return inputs @ (directions * inputs.shape[-1] ** -0.25).T


def energy(inputs: Tensor) -> Float[Tensor, "*token 1"]:
    """Half the squared length, scaled likewise."""
    return inputs.square().sum(dim=-1, keepdim=True) * (0.5 * inputs.shape[-1] ** -0.5)


def query_features(query: Tensor, directions: Tensor) -> Float[Tensor, "batch head query feature"]:
    """Features, each row up to a factor that the mean does not see: the largest is 1."""
    scores = projected(query, directions)
    return scores.sub_(scores.detach().amax(dim=-1, keepdim=True)).exp_()


def key_features(
    key: Tensor, directions: Tensor, valid: Bool[Tensor, "batch key"] | None, *, is_causal: bool
) -> tuple[Float[Tensor, "batch head key feature"], Float[Tensor, "batch head key"]]:
    """Features relative to the largest of all keys, or of those so far, and the logarithms of what they lack.

    A factor of their own for each key would change the weights; one for all does not, and one that only grows along the
    sequence can be put back by `causal_product`.
    """
    scores, lengths = projected(key, directions), energy(key)
    largest = scores.detach().amax(dim=-1) - lengths.detach()[..., 0]
    lowest = torch.finfo(key.dtype).min
    real = largest if valid is None else largest.masked_fill(~valid[:, None], lowest)
    level = real.cummax(dim=-1).values if is_causal else real.amax(dim=-1, keepdim=True).expand_as(real)
    own = (
        level if valid is None else torch.where(valid[:, None], level, largest)
    )  # padding stays in range, too
    return scores.sub_(lengths + own[..., None]).exp_(), level


@mechanisms.register("performer")
class Performer(FeatureAttention):
    """Estimate softmax attention by positive orthogonal random features.

    The directions are a buffer: the same input gives the same answer until `redraw`.
    """

    facts = Facts(
        title="Performer (FAVOR+)",
        formula="phi(Q) (phi(K)^T V) / phi(Q) (phi(K)^T 1), phi(x) = exp(W x - |x|^2 / 2)",
        time="N m d, m random features",
        memory="N m",
        relation="approximate",
        source="choromanski2021rethinking",
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Performer":
        """For heads of this size."""
        return cls(head_dim=shape.head_dim, **options)

    def __init__(self, *, head_dim: int, num_features: int | None = None) -> None:
        """Draw the directions.

        Args:
            head_dim: Features of a head.
            num_features: Random features; `d log d`, the order that the paper proves to suffice, if None.

        Raises:
            ValueError: If there is not one of each.
        """
        super().__init__()
        num_features = (
            max(head_dim, int(head_dim * math.log(max(1, head_dim))))
            if num_features is None
            else num_features
        )
        if head_dim < 1 or num_features < 1:
            raise ValueError(
                f"head_dim and num_features must be 1 or more, but got {head_dim=}, {num_features=}."
            )
        self.register_buffer("directions", orthogonal_directions(num_features, head_dim))
        self.directions: Tensor

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Other directions, all at once; in training, now and then, so that no head learns to rely on some."""
        fresh = orthogonal_directions(*self.directions.shape, generator=generator)
        self.directions.copy_(fresh)

    def features(
        self, query: Tensor, key: Tensor, valid: Bool[Tensor, "batch key"] | None, *, is_causal: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same directions for all heads."""
        if query.shape[-1] != self.directions.shape[1]:
            raise ValueError(
                f"this mechanism was built for heads of {self.directions.shape[1]} features, but got {query.shape[-1]}."
            )
        directions = self.directions.to(query.dtype)
        return query_features(query, directions), *key_features(key, directions, valid, is_causal=is_causal)
