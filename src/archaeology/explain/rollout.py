"""Rollout follows attention through all layers: whom the readout looks at, whom those looked at.

Each layer mixes tokens with `A = 0.5 * heads + 0.5 * I`, the identity standing for the residual connection,
and rollout is the product of all `A`. Source: `abnar2020quantifying`. Differs: only the readout's row of
the product is wanted, so one row vector is pushed from the last layer to the first, which is the same
number for a fraction of the work; the product of matrices never exists. Discarding weak weights is not in
the paper; it comes from a widely copied script that then divides by the sums of the wrong axis. Here rows
are divided by their own sums, after discarding.
"""

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import CapturedPattern, Record
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Pattern
from archaeology.explain.explanation import Explanation
from archaeology.explain.layers import Rows
from archaeology.explain.method import of_record
from archaeology.explain.stages import followed

HEAD_FUSIONS = ("mean", "max", "min")


def fused_heads(pattern: Pattern, head_fusion: str = "mean") -> Float[Tensor, "batch query key"]:
    """One matrix from all heads: their mean, or the largest or smallest of them entry by entry.

    Raises:
        UnknownNameError: If `head_fusion` is none of mean, max and min.
    """
    if head_fusion == "mean":
        return pattern.mean(dim=1)
    if head_fusion == "max":
        return pattern.amax(dim=1)
    if head_fusion == "min":
        return pattern.amin(dim=1)
    raise unknown_name("head fusion", head_fusion, list(HEAD_FUSIONS))


def without_weakest(
    fused: Float[Tensor, "batch query key"], discard_ratio: float
) -> Float[Tensor, "batch query key"]:
    """Zero the weakest share of each image's matrix; weights equal to the weakest one kept are kept too.

    Raises:
        ValueError: If `discard_ratio` is not in [0, 1).
    """
    if not 0 <= discard_ratio < 1:
        raise ValueError(f"discard_ratio must be at least 0 and below 1, but got {discard_ratio=}.")
    flat = fused.flatten(1)
    num_discarded = int(flat.shape[1] * discard_ratio)
    if num_discarded == 0:
        return fused
    weakest_kept = flat.kthvalue(num_discarded + 1, dim=1).values
    return fused.masked_fill(fused < weakest_kept[:, None, None], 0)


def rolled_row(
    patterns: Sequence[Pattern] | Float[Tensor, "layer batch head query key"],
    start: Float[Tensor, "batch token"],
    *,
    head_fusion: str = "mean",
    discard_ratio: float = 0.0,
) -> Float[Tensor, "batch token"]:
    """`start` times the product of all layers' mixing matrices, last layer first.

    Args:
        patterns: One for each layer, first to last, query and key being the same tokens.
        start: What is read at the end: a one at the class token, or equal shares of the patches.
        head_fusion: How heads become one matrix: mean (the paper's), max or min.
        discard_ratio: Share of each layer's weights that is dropped, weakest first.

    Returns:
        The share of every input token; sums to one where `start` does.
    """
    last_to_first = reversed(list(patterns))
    return pushed_row(
        (without_weakest(fused_heads(pattern, head_fusion), discard_ratio) for pattern in last_to_first),
        start,
    )


def pushed_row(
    last_to_first: Iterable[Float[Tensor, "batch query key"]], start: Float[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """`start` times the product of `A = (matrix + I) / (its row sums)` of every layer, the last layer first."""
    rows = (start,)
    for fused in last_to_first:
        rows = mixed(rows, fused)
    return rows[0]


def mixed(rows: Rows, fused: Float[Tensor, "batch query key"]) -> Rows:
    """Rows times `A = (fused + I) / (its row sums)`; dividing the rows first spares a pass over the matrix."""
    shared = [row / (fused.sum(dim=-1) + 1) for row in rows]
    return tuple((share[:, None] @ fused)[:, 0] + share for share in shared)


@of_record("rollout", title="Rollout", patterns=True, looks_at_class=False)
def rollout(record: Record, *, head_fusion: str = "mean", discard_ratio: float = 0.0) -> Explanation:
    """Attention rollout from the model's readout to its patches; looks at no class.

    Args:
        record: Captured with patterns, from a model whose layers see all tokens, or windows of known places.
        head_fusion: mean, max or min over heads.
        discard_ratio: Share of the weakest weights dropped in every layer (there in every window), in [0, 1).

    Raises:
        ValueError: If the model has no token layout, or where the tokens of a layer lie is not known.

    References:
        `abnar2020quantifying`. Differs: see the module, and `explain/stages.py` for windows.
    """
    layers = followed(record, "rollout")

    def fuse(attention: CapturedPattern) -> Tensor:
        return without_weakest(fused_heads(attention.pattern, head_fusion), discard_ratio)

    start = layers.start(lambda pool: fused_heads(pool.pattern))
    (row,) = layers.pushed((start,), fuse, mixed)
    kept = f", weakest {discard_ratio:.0%} dropped" if discard_ratio else ""
    return Explanation(
        # Talking heads can hold negative weights, and so could their product.
        heatmap=layers.map_of(row).clamp(min=0),
        method="rollout",
        parameters={"head_fusion": head_fusion, "discard_ratio": discard_ratio},
        formula=(
            f"A = 0.5 * {head_fusion} over heads + 0.5 * I, rows sum to one{kept}; "
            f"{layers.readout} row of the product of all {len(layers)} layers{layers.ways}"
        ),
    )
