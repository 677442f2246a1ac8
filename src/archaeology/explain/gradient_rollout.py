"""Rollout along the attention that speaks for a class: each layer's weights times their gradient, then as in rollout.

Each layer mixes tokens with `(mean over heads of ReLU(A * d logit / dA) + I) / row sums`, and the readout's row of the
product is the map: `abnar2020quantifying` with the matrices of `chefer2021generic`, but rows that sum to one. Differs
from the widely copied script of this name, which pairs the attention of layer i with the gradient of layer L - 1 - i
(they are collected in opposite order), takes the positive part after the mean over heads instead of before, and divides
columns by the sums of rows. Nothing is discarded.
"""

from archaeology.capture.record import Record
from archaeology.explain.explanation import Explanation
from archaeology.explain.layers import mean_evidence
from archaeology.explain.method import of_record
from archaeology.explain.rollout import mixed
from archaeology.explain.stages import followed


@of_record("gradient_rollout", title="Gradient rollout", pattern_gradients=True)
def gradient_rollout(record: Record) -> Explanation:
    """Rollout of attention times gradient, from the model's readout to its patches.

    Gradients are small against the identity, so most of the readout's share stays on the readout itself; that does not
    change the order of the patches of one image much, but makes the map scale with the gradient.

    Args:
        record: Captured with `patterns=True, gradients=True`, from a model whose layers see all tokens, or windows of
            known places.

    Raises:
        ValueError: If the model has no token layout, tokens lie at places unknown, or a gradient is missing.

    References:
        `abnar2020quantifying`, `chefer2021generic`. Differs: see the module.
    """
    layers = followed(record, "gradient_rollout")
    fuse = mean_evidence("gradient_rollout")
    (row,) = layers.pushed((layers.start(fuse),), fuse, mixed)
    return Explanation(
        heatmap=layers.map_of(row),
        method="gradient_rollout",
        formula=(
            f"(mean over heads of ReLU(A * d logit / dA) + I) / row sums; {layers.readout} row of the product of all "
            f"{len(layers)} layers{layers.ways}"
        ),
        target=record.target,
    )
