"""The Jensen-Shannon divergence: how well one look tells which of two distributions it came from.

`JS(p, q) = (KL(p || m) + KL(q || m)) / 2` with `m = (p + q) / 2`, in nats, from 0 (the same) to log 2 (nothing in
common); it needs no overlap, and does not care which comes first. Source: `lin1991divergence`.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def jensen_shannon(
    first: Float[Tensor, "*batch key"], second: Float[Tensor, "*batch key"]
) -> Float[Tensor, "*batch"]:
    """Divergence of each row of one from the same row of the other, in nats.

    Args:
        first: Rows >= 0 that sum to one.
        second: Likewise, of the same shape.

    References:
        `lin1991divergence`. With `p = m (1 - d)` and `q = m (1 + d)` each key adds
        `m ((1 - d) log(1 - d) + (1 + d) log(1 + d)) / 2`, which is never negative: small divergences keep their digits.
    """
    both = first + second
    apart = ((second - first) / both).nan_to_num_(0, 0, 0)  # where neither looks, nothing is added
    terms = torch.special.xlog1py(1 - apart, -apart) + torch.special.xlog1py(1 + apart, apart)
    return (terms * both).sum(dim=-1) / 4
