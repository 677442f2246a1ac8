"""Sink mass says how much attention ends at one token that queries look at whatever they are: where it drains.

Attention must go somewhere: a head that has nothing to say sends it to a token that everybody can spare. In language
models that is the first token (`xiao2024efficient`), in vision transformers a few patches of the background or, where
there are any, the registers (`darcet2024vision`). Both name such tokens by a threshold on weights or norms; here it is
one number without a threshold, the largest column mean: the share of its attention that the average patch gives to
the one token that receives most. Blind attention scores 1 / keys. The class token does not count as a sink, because
attention on it has a statistic of its own (class-token mass).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.stats.columns import Columns, ColumnStatistic, PerHead, column_statistics


def sink_mass(received: Float[Tensor, "batch head key"], class_token: int | None = None) -> PerHead:
    """Largest share that one key receives, in [1 / keys, 1] without a class token; NaN where nobody looks anywhere.

    Args:
        received: Mean over queries of the share that each key gets.
        class_token: Which key is the class token, left out; None if there is none.
    """
    if class_token is not None:
        received = received.clone()
        received[..., class_token] = -torch.inf
    largest = received.amax(dim=-1)
    return largest.masked_fill(largest == -torch.inf, torch.nan)


def _of_columns(columns: Columns) -> PerHead:
    return sink_mass(columns.received, None if columns.layout is None else columns.layout.class_token)


column_statistics.register("sink_mass")(
    ColumnStatistic(_of_columns, "largest share that one token but the class token receives")
)
