"""Who looks alike, meets: hashing puts similar vectors into one bucket, and attention stays among neighbours there.

`kitaev2020reformer`. Queries serve as keys too, of unit length, so that similarity is an angle; random rotations turn
an angle into a bucket, `argmax of [xR, -xR]`; several rounds make up for unlucky ones. Scores are `q . k / |k|`,
without another `1 / sqrt(dim)`, as in the authors' code: the length of the query is its temperature. A token attends to
itself only if it sees nobody else.

Differs: the first chunk of a round looks at itself only, where the authors' code lets it see the last chunk of another
round, so within a round every key counts once (over several rounds a key counts as often as it was met, as theirs). In
causal attention every bucket begins a chunk of its own and only the bucket is seen (`seating`): what sits where, and so
the answer, then depends on the past alone, which in the published code it does not. Any length will do.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attention.biases import Bias
from archaeology.attention.masks import Mask, is_causal, valid_tokens, wiped
from archaeology.attention.mechanism import Facts, LayerShape, Mechanism, mechanisms
from archaeology.attention.neighbours import NOTHING, Neighbours
from archaeology.attention.seating import by_bucket, side_by_side

PRODUCTS_AT_ONCE = 2**18  # float32 numbers that stay in the processor's cache

Vectors = Float[Tensor, "batch head token dim"]
Values = Float[Tensor, "batch head token value_dim"]
Buckets = Int[Tensor, "batch head round token"]


def buckets_of(vectors: Vectors, rotations: Float[Tensor, "round dim half"], num_buckets: int) -> Buckets:
    """Cross-polytope hashing: which of `num_buckets / 2` random directions, or of their opposites, is the nearest.

    Args:
        vectors: What is hashed; only the direction counts.
        rotations: Random directions of each round, as columns.
        num_buckets: How many buckets, even, at most twice the columns.
    """
    batch, heads, tokens, _ = vectors.shape
    half = num_buckets // 2
    turning = rotations[:, :, :half].transpose(0, 1).flatten(1)
    found = []
    for some in vectors.flatten(0, 2).split(max(1, PRODUCTS_AT_ONCE // turning.shape[1])):
        turned = (some @ turning).unflatten(1, (-1, half))
        largest = turned.abs().argmax(dim=-1, keepdim=True)
        found.append((largest + half * (turned.gather(-1, largest) < 0))[..., 0])
    return torch.cat(found).view(batch, heads, tokens, -1).transpose(2, 3).contiguous()


def attend_within_buckets(
    query: Vectors,
    key: Vectors,
    value: Values,
    buckets: Buckets,
    *,
    size: int,
    valid: Bool[Tensor, "batch token"] | None = None,
    is_causal: bool = False,
) -> Values:
    """Every token's softmax over the neighbours that its buckets give it.

    Args:
        query: What looks.
        key: The same vectors; their length does not count.
        value: What is averaged.
        buckets: Where each round of hashing puts each token.
        size: Tokens of a chunk, which sees itself and the one before.
        valid: Which tokens are real; all if None.
        is_causal: Whether nobody sees the future, nor is moved by it.
    """
    batch, heads, tokens, _ = query.shape
    by_row = None if valid is None else valid[:, None].expand(batch, heads, tokens).flatten(0, 1)
    seating = (by_bucket if is_causal else side_by_side)(buckets.flatten(0, 1), size, by_row)
    flat = [part.flatten(0, 2) for part in (query, F.normalize(key, dim=-1), value)]
    answer, level = Neighbours.apply(*flat, seating, is_causal)
    answer = torch.where((level == NOTHING)[:, None], flat[2], answer).view_as(value)
    return answer if valid is None else answer.masked_fill(~valid[:, None, :, None], 0)


@mechanisms.register("reformer")
class Reformer(Mechanism):
    """Attend among the tokens that hashing puts side by side.

    The rotations are a buffer: the same input gives the same answer until `redraw`.
    """

    supports = frozenset({"causal", "padding"})
    shares_query_and_key = True
    facts = Facts(
        title="Reformer (LSH)",
        formula="softmax over tokens hashed near: Q K^T / |K|, K = Q, several rounds",
        time="N r c d, r rounds, c tokens of a chunk; hashing N^2 r d / c",
        memory="N r d",
        relation="approximate",
        source="kitaev2020reformer",
    )

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "Reformer":
        """For heads of this size."""
        return cls(head_dim=shape.head_dim, **options)

    def __init__(
        self, *, head_dim: int, bucket_size: int = 64, num_rounds: int = 4, max_buckets: int = 256
    ) -> None:
        """Draw the rotations.

        Args:
            head_dim: Features of a head.
            bucket_size: Tokens that a bucket is to hold on average, and that a chunk holds.
            num_rounds: Rounds of hashing; more find more of the nearest keys, and cost as much more.
            max_buckets: Most buckets, for long sequences, which then have fuller ones.

        Raises:
            ValueError: If one of them is too small.
        """
        super().__init__()
        if min(head_dim, bucket_size, num_rounds) < 1 or max_buckets < 2:
            raise ValueError(
                "head_dim, bucket_size and num_rounds must be 1 or more and max_buckets 2 or more, but got "
                f"{head_dim=}, {bucket_size=}, {num_rounds=}, {max_buckets=}."
            )
        self.bucket_size = bucket_size
        self.register_buffer("rotations", torch.randn(num_rounds, head_dim, max_buckets // 2))
        self.rotations: Tensor

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Other rotations, all at once; training may do so in every step."""
        self.rotations.copy_(torch.randn(self.rotations.shape, generator=generator))

    def exact(self, query: Vectors, key: Vectors, value: Values) -> Values:
        """What it estimates: the same scores for every other token; alone, a token sees itself."""
        tokens = query.shape[2]
        others = ~torch.eye(tokens, dtype=torch.bool, device=query.device)
        unit = F.normalize(key, dim=-1)
        if tokens == 1:
            return value
        return F.scaled_dot_product_attention(query, unit, value, attn_mask=others, scale=1.0)

    def check(
        self, query: Tensor, key: Tensor, mask: Mask | None, bias: Bias | None, query_offset: int
    ) -> None:
        """As every mechanism, and queries must be the keys."""
        super().check(query, key, mask, bias, query_offset)
        if not is_same(query, key):
            raise ValueError(
                f"{self.facts.title} uses queries as keys, but was given others; pass the same tensor twice."
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
        """Hash, take seats, look around; half precision is computed in float32."""
        dtype, exact = query.dtype, torch.promote_types(query.dtype, torch.float32)
        valid = valid_tokens(mask, key)
        shared = key is query
        query, value = (part.to(exact) for part in wiped(query, value, valid))
        key = query if shared else wiped(key.to(exact), key, valid)[0]
        tokens = query.shape[2]
        with torch.autocast(
            query.device.type, enabled=False
        ):  # it would lower the precision of products again
            wanted = 2 * -(-tokens // (2 * self.bucket_size))
            num_buckets = min(wanted, 2 * self.rotations.shape[2])
            buckets = buckets_of(query.detach(), self.rotations.to(exact), num_buckets)
            size = min(self.bucket_size, tokens)
            answer = attend_within_buckets(
                query, key, value, buckets, size=size, valid=valid, is_causal=is_causal(mask)
            )
        return answer.to(dtype)


def is_same(query: Tensor, key: Tensor) -> bool:
    """Whether two tensors hold the same numbers; a NaN, as in padding, is the same as another."""
    if key is query:
        return True
    return query.shape == key.shape and torch.allclose(query, key, rtol=0, atol=0, equal_nan=True)
