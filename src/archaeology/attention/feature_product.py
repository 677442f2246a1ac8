"""If a weight is a product of features, sum over the keys first: `phi(q) . (sum phi(k) v)` needs no row per pair.

`katharopoulos2020transformers`, equations 4 to 12 and 16 to 20: with `S = sum phi(k) v^T` and `z = sum phi(k)`, the
answer to a query is `phi(q) S / phi(q) z`. Three ways to the same numbers: over all keys at once (`over_all`), over the
past of every query (`over_past`), and token by token with a state of fixed size (`State`), as a recurrent network.

Differs: values carry a last column of ones (`counted`), so that `z` is one more column of `S`.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.attention.biases import Bias
from archaeology.attention.causal_product import causal_product, extended
from archaeology.attention.masks import Mask, is_causal, valid_tokens, wiped
from archaeology.attention.mechanism import Mechanism

Queries = Float[Tensor, "batch head query feature"]
Keys = Float[Tensor, "batch head key feature"]
Values = Float[Tensor, "batch head key dim"]
Counted = Float[Tensor, "batch head key dim_and_count"]
Answers = Float[Tensor, "batch head query dim"]


class FeatureAttention(Mechanism):
    """Attention whose weights are products of features; a subclass says which features."""

    supports = frozenset({"causal", "padding", "cross", "cache"})

    @abstractmethod
    def features(
        self, query: Tensor, key: Tensor, valid: Bool[Tensor, "batch key"] | None, *, is_causal: bool
    ) -> tuple[Queries, Keys, Float[Tensor, "batch head key"] | None]:
        """Features of queries and of keys, 0 or more, and the level of the keys if they have one."""

    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
    ) -> Tensor:
        """All keys, or those up to the query; half precision is computed in float32, for sums over many tokens."""
        dtype, exact = query.dtype, torch.promote_types(query.dtype, torch.float32)
        valid = valid_tokens(mask, key)
        query, key, value = (part.to(exact) for part in (query, *wiped(key, value, valid)))
        query, key, level = self.features(query, key, valid, is_causal=is_causal(mask))
        value = counted(value, valid)
        if is_causal(mask):
            return over_past(query, key, value, level=level, query_offset=query_offset).to(dtype)
        return over_all(query, key, value).to(dtype)


def counted(value: Values, valid: Bool[Tensor, "batch key"] | None = None) -> Counted:
    """Values with a last column of ones; all zeros where there is no token to count."""
    result = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
    return result if valid is None else result.masked_fill(~valid[:, None, :, None], 0)


def mean_of(sums: Float[Tensor, "batch head query dim_and_count"]) -> Answers:
    """Weighted sums of values divided by their last column, the sum of the weights; zeros where that is zero."""
    total = sums[..., -1:]
    return sums[..., :-1] / total.masked_fill(total == 0, 1)


def over_all(query: Queries, key: Keys, value: Counted) -> Answers:
    """Every query's mean of all values, weighted by products of features."""
    return mean_of(query @ (key.mT @ value))


def over_past(
    query: Queries,
    key: Keys,
    value: Counted,
    *,
    level: Float[Tensor, "batch head key"] | None = None,
    query_offset: int = 0,
) -> Answers:
    """Every query's mean of the values up to its own position.

    Args:
        query: Features of the queries, the first of them at position `query_offset`.
        key: Features of the keys, the first of them at position 0.
        value: Their values, counted.
        level: As in `causal_product`.
        query_offset: How many keys lie before the first query.
    """
    end = query_offset + query.shape[2]
    ahead = max(0, end - key.shape[2])
    query = extended(query, query_offset, 0)
    key, value = (extended(part[:, :, :end], 0, ahead) for part in (key, value))
    if level is not None:
        level = torch.cat([level[..., :end], level[..., -1:].expand(-1, -1, ahead)], dim=-1)
    return mean_of(causal_product(query, key, value, level=level)[:, :, query_offset:])


@dataclass(frozen=True)
class State:
    """All that a causal model needs of the keys and values so far, however many they were.

    Attributes:
        sums: Over the keys, products of features and counted values.
    """

    sums: Float[Tensor, "batch head feature dim_and_count"]

    def after(self, key: Keys, value: Values) -> "State":
        """The state when these tokens were seen too."""
        return State(self.sums + key.mT @ counted(value))

    def answers(self, query: Queries) -> Answers:
        """What queries get that see all tokens so far."""
        return mean_of(query @ self.sums)
