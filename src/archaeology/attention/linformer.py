"""A pattern of rank `k` needs `k` keys, not `N`: keys and values are summarised along the sequence before attending.

`wang2020linformer`: two learned matrices, shared by all heads, turn the `N` keys into `k` and the `N` values into `k`;
softmax attention to those costs `N k`. The rows of the pattern that this implies need not sum to one, nor be positive:
they are softmax weights times a learned matrix. Every position mixes with every other, so nothing can be causal.

Differs: the matrices start as means over blocks of neighbours, not at random, so that an untrained layer sees a blurred
sequence and, where `rank` is the length, all of it; random ones were worse than the plain mean of all values.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.attention.biases import Bias
from archaeology.attention.masks import Mask, valid_tokens, wiped
from archaeology.attention.mechanism import Facts, LayerShape, Mechanism, mechanisms
from archaeology.attention.softmax import attend


def block_means(num_tokens: int, rank: int) -> Float[Tensor, "token rank"]:
    """The matrix whose columns are means over `rank` blocks of neighbours, as equal in length as can be."""
    block = torch.arange(num_tokens) * rank // num_tokens
    members = torch.nn.functional.one_hot(block, rank).float()
    return members / members.sum(dim=0)


def summarised(
    tokens: Float[Tensor, "batch head token dim"], projection: Float[Tensor, "token rank"]
) -> Float[Tensor, "batch head rank dim"]:
    """Sums over the sequence, one for each column of the projection: one product for all examples and heads."""
    batch, heads, _, _ = tokens.shape
    flat = rearrange(tokens, "batch head token dim -> token (batch head dim)")
    return rearrange(
        projection.T @ flat, "rank (batch head dim) -> batch head rank dim", batch=batch, head=heads
    )


@mechanisms.register("linformer")
class Linformer(Mechanism):
    """Attend to `rank` learned summaries of the sequence.

    Bound to a length: shorter sequences use the first rows of the projections, longer ones are refused.
    """

    supports = frozenset({"padding", "cross"})
    facts = Facts(
        title="Linformer",
        formula="softmax(Q (E^T K)^T / sqrt(d)) F^T V, E and F learned, N x k",
        time="N k d, k summaries",
        memory="N k",
        relation="approximate",
        source="wang2020linformer",
        rows_sum_to_one=False,
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Linformer":
        """For sequences of this length.

        Raises:
            ValueError: If the length is not known.
        """
        if shape.num_tokens is None:
            raise ValueError("Linformer learns one row for every position: give the layer num_tokens.")
        return cls(num_tokens=shape.num_tokens, **options)

    def __init__(self, *, num_tokens: int, rank: int = 256) -> None:
        """Start with block means.

        Args:
            num_tokens: The longest sequence.
            rank: Summaries of it; no more than there are tokens.

        Raises:
            ValueError: If there is not one of each.
        """
        super().__init__()
        if num_tokens < 1 or rank < 1:
            raise ValueError(f"num_tokens and rank must be 1 or more, but got {num_tokens=}, {rank=}.")
        rank = min(rank, num_tokens)
        self.of_keys = nn.Parameter(block_means(num_tokens, rank))
        self.of_values = nn.Parameter(block_means(num_tokens, rank))

    def check(
        self, query: Tensor, key: Tensor, mask: Mask | None, bias: Bias | None, query_offset: int
    ) -> None:
        """As every mechanism, and no more keys than there are rows."""
        super().check(query, key, mask, bias, query_offset)
        if key.shape[2] > len(self.of_keys):
            raise ValueError(
                f"this Linformer was built for num_tokens={len(self.of_keys)}, but got {key.shape[2]} keys; build it "
                "for the longest sequence."
            )

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
        """Softmax attention to the summaries; padding counts as zeros in them."""
        key, value = wiped(key, value, valid_tokens(mask, key))
        num_keys = key.shape[2]
        of_keys, of_values = (part[:num_keys].to(query.dtype) for part in (self.of_keys, self.of_values))
        return attend(query, summarised(key, of_keys), summarised(value, of_values))
