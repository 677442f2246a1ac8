"""Which attention layers a readout hears through, and how each mixes tokens: shared by all that follow attention.

In most models every layer lets all tokens look at all tokens. Two kinds of layer with few queries close some:
*class attention* (CaiT), where a class token that may join late is alone in looking, and an *attention pool*
(SigLIP), whose query is no token at all, so that its row is what the readout hears.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import CapturedPattern, Record
from archaeology.core.shapes import Heatmap, Pattern
from archaeology.explain.readout import layout_of, patch_map, readout_weights
from archaeology.specimens.layout import TokenLayout

Fuse = Callable[[CapturedPattern], Float[Tensor, "batch query key"]]
Rows = tuple[Float[Tensor, "batch _"], ...]  # of tokens or places, others at the end than at the beginning
Step = Callable[[Rows, Float[Tensor, "batch query key"]], Rows]


@dataclass(frozen=True, eq=False)
class Layers:
    """The attention layers of a record between the patches and what the classifier reads.

    Attributes:
        layout: Of the tokens.
        whole: Layers in which all tokens look at all tokens, first to last.
        class_attention: Layers after them in which only the class token looks, first to last.
        pool: The attention pool at the end, or None.
        num_late: How many tokens join after the whole layers, in front of the others: 0 or 1.
    """

    layout: TokenLayout
    whole: tuple[CapturedPattern, ...]
    class_attention: tuple[CapturedPattern, ...]
    pool: CapturedPattern | None
    num_late: int

    def __len__(self) -> int:
        return len(self.whole) + len(self.class_attention) + (self.pool is not None)

    @property
    def readout(self) -> str:
        """What the classifier reads, in words."""
        if self.pool is not None:
            return "attention pool's"
        return "late class token's" if self.num_late else self.layout.readout

    def start(self, fuse: Fuse) -> Float[Tensor, "batch token"]:
        """The share of each token in what is read at the end; `fuse` makes one matrix of the pool's heads."""
        if self.pool is not None:
            return fuse(self.pool).mean(dim=1)
        pattern = self.whole[0].pattern
        if self.num_late:
            start = pattern.new_zeros(len(pattern), pattern.shape[-1] + self.num_late)
            start[:, 0] = 1
            return start
        return readout_weights(self.layout).to(pattern).expand(len(pattern), -1)

    def last_to_first(self, fuse: Fuse) -> Iterator[Float[Tensor, "batch query key"]]:
        """One square matrix for each layer but the pool, on all tokens; zeros where a token does not look.

        Args:
            fuse: Makes one matrix of a layer's heads.
        """
        for layer in reversed(self.class_attention):
            row = fuse(layer)
            square = row.new_zeros(len(row), row.shape[-1], row.shape[-1])
            square[:, 0 if self.num_late else self.layout.class_token] = row[:, 0]
            yield square
        for layer in reversed(self.whole):
            yield F.pad(fuse(layer), (self.num_late, 0, self.num_late, 0)) if self.num_late else fuse(layer)

    @property
    def ways(self) -> str:
        """What a formula must add, in words: nothing."""
        return ""

    def pushed(self, rows: Rows, fuse: Fuse, step: Step) -> Rows:
        """Rows of shares at the end, pushed from the last layer to the first.

        Args:
            rows: One or several.
            fuse: Makes one matrix of a layer's heads.
            step: What a layer does to the rows, given its matrix.
        """
        for matrix in self.last_to_first(fuse):
            rows = step(rows, matrix)
        return rows

    def map_of(self, row: Float[Tensor, "batch token"]) -> Heatmap:
        """The patches of a row of tokens, on their grid."""
        return patch_map(row, self.layout)


def layers_of(record: Record, method: str) -> Layers:
    """The record's attention layers, checked to be such that attention can be followed from end to beginning.

    Args:
        record: Captured with patterns.
        method: Who asks, for the message of an error.

    Raises:
        ValueError: If the model has no tokens, or a layer sees windows, channels or other tokens; says what would work.
    """
    layout = layout_of(record, method)
    sizes = {layout.num_tokens, layout.num_patches}
    whole = tuple(
        seen for seen in record.attentions if seen.kind == "token" and seen.pattern.shape[-1] in sizes
    )
    size = whole[0].pattern.shape[-1] if whole else 0
    late = tuple(
        seen
        for seen in record.attentions
        if whole and seen.kind == "pool" and seen.pattern.shape[-1] in (size, size + 1)
    )
    num_late = int(any(seen.pattern.shape[-1] > size for seen in late))
    has_class = num_late == 1 or (layout.readout == "class_token" and layout.class_token is not None)
    are_class = has_class and all(seen.pattern.shape[-2:] == (1, size + num_late) for seen in late)
    used = (*whole, *(late if are_class else late[-1:]))
    other = [seen for seen in record.attentions if seen not in used]
    if other or not whole or any(seen.pattern.shape[-1] != size for seen in whole):
        raise ValueError(
            f"{method} needs layers in which all {layout.num_tokens} tokens see each other, but got "
            f"{len(whole)} such layers and {len(other)} others "
            f"({', '.join(f'{seen.module}: {seen.kind}' for seen in other[:3]) or 'none captured'}); "
            "use grad_cam for this model."
        )
    pool = late[-1] if late and not are_class else None
    return Layers(layout, whole, late if are_class else (), pool, num_late)


def chosen_layer(record: Record, layer: int, method: str) -> CapturedPattern:
    """The captured layer number `layer`, checked to see all patches.

    Raises:
        ValueError: If there is no such layer, or it sees windows, channels or other tokens; says what would work.
    """
    layout = layout_of(record, method)
    count = len(record.attentions)
    if not -count <= layer < count:
        raise ValueError(
            f"layer must be one of the {count} attention layers captured (0 to {count - 1}, or -1 for the "
            f"last), but got {layer=}."
            if count
            else f"{method} reads an attention layer, but this record holds none; capture with patterns=True, "
            "or use grad_cam."
        )
    attention = record.attentions[layer]
    keys = attention.pattern.shape[-1]
    allowed = {
        "token": (layout.num_tokens, layout.num_patches),
        "pool": (layout.num_tokens, layout.num_patches + 1),
    }
    if keys not in allowed.get(attention.kind, ()):
        raise ValueError(
            f"{method} needs a layer that sees all {layout.num_tokens} tokens, but {attention.module} "
            f"is of kind {attention.kind!r} with {keys} keys; choose another layer, or use grad_cam."
        )
    return attention


def positive_evidence(attention: CapturedPattern, method: str) -> Pattern:
    """`ReLU(A * d logit / dA)` of a layer: where more attention would raise the class, as much as there is.

    Raises:
        ValueError: If the record holds no gradient of this layer.
    """
    if attention.pattern_gradient is None:
        raise ValueError(
            f"{method} needs the gradient of every pattern, but {attention.module} has none; capture with "
            "gradients=True and no taps, or a first tap before this layer."
        )
    return (attention.pattern * attention.pattern_gradient).clamp(min=0)


def mean_evidence(method: str) -> Fuse:
    """The mean over heads of `positive_evidence`, as a way to make one matrix of a layer's heads."""
    return lambda attention: positive_evidence(attention, method).mean(dim=1)
