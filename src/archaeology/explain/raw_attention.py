"""Raw attention is what one layer's readout looks at: a first glance, not an explanation.

Values are the share of attention on each patch; prefix tokens keep theirs, so a map need not sum to one.
Nothing is said about the class: `jain2019attention` and others show how far such maps can be from what
decides.
"""

from archaeology.capture.record import Record
from archaeology.explain.explanation import Explanation
from archaeology.explain.layers import chosen_layer
from archaeology.explain.method import of_record
from archaeology.explain.readout import layout_of, patch_map, readout_row
from archaeology.explain.rollout import fused_heads


@of_record("raw_attention", title="Raw attention", patterns=True, looks_at_class=False)
def raw_attention(
    record: Record, *, layer: int = -1, head: int | None = None, head_fusion: str = "mean"
) -> Explanation:
    """The attention that the readout pays to each patch in one layer; looks at no class.

    Args:
        record: Captured with patterns.
        layer: Which attention layer, counted from 0, or from the end with -1 the last.
        head: One head of it, or None to fuse them all.
        head_fusion: mean, max or min over heads; of no use with `head`.

    Raises:
        ValueError: If there is no such layer or head, or the layer does not see all patches.
    """
    layout = layout_of(record, "raw_attention")
    attention = chosen_layer(record, layer, "raw_attention")
    rows = readout_row(attention.pattern, layout)
    if head is None:
        row = fused_heads(rows[:, :, None], head_fusion)[:, 0]
        read = f"{head_fusion} over heads"
    else:
        if not 0 <= head < rows.shape[1]:
            raise ValueError(f"head must be 0 to {rows.shape[1] - 1} in {attention.module}, but got {head=}.")
        row, read = rows[:, head], f"head {head}"
    return Explanation(
        heatmap=patch_map(row, layout).clamp(min=0),
        method="raw_attention",
        parameters={"layer": layer, "head": head, "head_fusion": head_fusion},
        formula=f"{layout.readout} row of softmax(Q K^T) in {attention.module}, {read}",
    )
