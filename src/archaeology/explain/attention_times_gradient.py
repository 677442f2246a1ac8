"""Attention times its gradient: what the readout of one layer looks at, where looking more would raise the class.

`mean over heads of ReLU(A * d logit / dA)`, at the readout's row. Sources: `barkan2021grad`, who weigh attention by its
positive gradient and sum over all layers and queries; `chefer2021generic` use the same matrix in every layer, and
"Grad-CAM on attention" is a usual name of it. Differs: one layer, and the row of the readout only.
"""

from archaeology.capture.record import Record
from archaeology.explain.explanation import Explanation
from archaeology.explain.layers import chosen_layer, positive_evidence
from archaeology.explain.method import of_record
from archaeology.explain.readout import layout_of, patch_map, readout_row


@of_record("attention_times_gradient", title="Attention times gradient", pattern_gradients=True)
def attention_times_gradient(record: Record, *, layer: int = -1) -> Explanation:
    """Attention of one layer's readout, weighted by how much it would raise the target's logit.

    Args:
        record: Captured with `patterns=True, gradients=True`.
        layer: Which attention layer, counted from 0, or from the end with -1 the last.

    Raises:
        ValueError: If there is no such layer, it does not see all patches, or has no gradient.

    References:
        `barkan2021grad`, `chefer2021generic`. Differs: see the module.
    """
    layout = layout_of(record, "attention_times_gradient")
    attention = chosen_layer(record, layer, "attention_times_gradient")
    rows = readout_row(positive_evidence(attention, "attention_times_gradient"), layout)
    return Explanation(
        heatmap=patch_map(rows.mean(dim=1), layout),
        method="attention_times_gradient",
        parameters={"layer": layer},
        formula=f"{layout.readout} row of mean over heads of ReLU(A * d logit / dA), A = softmax(Q K^T) in "
        f"{attention.module}",
        target=record.target,
    )
