"""Attention as a recurrent network: weights that are products of features can be summed up while reading.

`katharopoulos2020transformers`: `phi(x) = elu(x) + 1` for queries and keys, weights `phi(q) . phi(k)` divided by their
sum. Trained from scratch it is a layer of its own, not an estimate of softmax attention. There is no scale: a factor
on queries or keys would change the shape of `elu` instead. A decoder need not keep its keys: `State` holds their sum.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.attention.feature_product import FeatureAttention
from archaeology.attention.mechanism import Facts, mechanisms


def elu_features(inputs: Float[Tensor, "*token dim"]) -> Float[Tensor, "*token dim"]:
    """`x + 1` above zero, `exp(x)` below: smooth and always positive."""
    return F.elu(inputs) + 1


@mechanisms.register("linear")
class LinearAttention(FeatureAttention):
    """Weights are products of the features `elu(x) + 1`."""

    facts = Facts(
        title="Linear attention",
        formula="phi(Q) (phi(K)^T V) / phi(Q) (phi(K)^T 1), phi = elu + 1",
        time="N d^2",
        memory="N d",
        relation="other",
        source="katharopoulos2020transformers",
    )

    def features(
        self, query: Tensor, key: Tensor, valid: Bool[Tensor, "batch key"] | None, *, is_causal: bool
    ) -> tuple[Tensor, Tensor, None]:
        """The same function for queries and keys."""
        return elu_features(query), elu_features(key), None
