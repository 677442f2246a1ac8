"""Relevance of the patches for a class: attention weighted by its gradient, added up along all ways to the readout.

`R <- R + mean over heads of ReLU(A * d logit / dA) R`, layer after layer, starting with the identity; the readout's row
of R is the map. Source: `chefer2021generic`, rule for self-attention, and for co-attention where an attention pool
reads. Differs: only that row is wanted, so a row vector is pushed from the last layer to the first, which is the same
number for a fraction of the work, and whole batches at once. What a token reads of itself without attention (the I in
R) is left out, so that a readout by the mean of the patches has no floor under its map; no class token is concerned.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import Record
from archaeology.explain.explanation import Explanation
from archaeology.explain.layers import Rows, mean_evidence
from archaeology.explain.method import of_record
from archaeology.explain.stages import followed


def _gaining(rows: Rows, evidence: Float[Tensor, "batch query key"]) -> Rows:
    """The start as it is, and what was gained, kept apart from the start, which may be far larger."""
    start, gained = rows
    return start, gained + ((start + gained)[:, None] @ evidence)[:, 0]


@of_record("relevance", title="Relevance", pattern_gradients=True)
def relevance(record: Record) -> Explanation:
    """Class-specific relevance of each patch for the model's readout.

    Args:
        record: Captured with `patterns=True, gradients=True`, from a model whose layers see all tokens, or windows of
            known places.

    Raises:
        ValueError: If the model has no token layout, tokens lie at places unknown, or a gradient is missing.

    References:
        `chefer2021generic`. Differs: see the module.
    """
    layers = followed(record, "relevance")
    fuse = mean_evidence("relevance")
    start = layers.start(fuse)
    start_below, row = layers.pushed((start, torch.zeros_like(start)), fuse, _gaining)
    if layers.pool is not None:  # its look at the tokens is attention too
        row = row + start_below
    return Explanation(
        heatmap=layers.map_of(row),
        method="relevance",
        formula=(
            f"R <- R + mean over heads of ReLU(A * d logit / dA) R through all {len(layers)} layers, R = I at first; "
            f"{layers.readout} row of R - I{layers.ways}"
        ),
        target=record.target,
    )
