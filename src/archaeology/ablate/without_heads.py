"""A model that lost some heads for good: a specimen like any other, to be attacked, explained or surveyed.

Each of these heads always says the same thing, usually what it says on average over some images. The weights are the
model's own; the wrapper edits the heads' answers as the model runs, and gradients flow through what is left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from archaeology.capture.edit import Edits, HeadEdit
from archaeology.capture.interceptor import intercepted
from archaeology.specimens.specimen import Specimen

Head = tuple[int, int]


class WithoutHeads(nn.Module):
    """Runs a model with some heads' answers replaced."""

    def __init__(
        self, model: nn.Module, masks: Mapping[int, Bool[Tensor, " head"]], answers: Mapping[int, Tensor]
    ) -> None:
        """Keep the model itself, not a copy.

        Args:
            model: With attention.
            masks: Which heads are replaced, for each layer where any is.
            answers: What they say instead, `(head, query, dim)` of each such layer, windows first where it has any.
        """
        super().__init__()
        self.model = model
        self.layers = tuple(masks)
        for layer in self.layers:
            self.register_buffer(f"mask{layer}", masks[layer])
            self.register_buffer(f"answer{layer}", answers[layer])

    def forward(self, images: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch classes"]:
        """The logits without those heads."""
        edits = tuple(
            HeadEdit(
                layer,
                self.get_buffer(f"mask{layer}").expand(len(images), -1),
                self.get_buffer(f"answer{layer}"),
            )
            for layer in self.layers
        )
        with intercepted(self.model, None, edit=Edits(edits)):
            return self.model(images)


def without_heads(specimen: Specimen, heads: Sequence[Head], answers: Sequence[Tensor]) -> Specimen:
    """The specimen with some heads always saying the same.

    Args:
        specimen: A model with attention; it is not changed, but shares its weights with what is returned.
        heads: Layer and head of each.
        answers: What all heads of each layer would say instead: from `mean_head_outputs`, or zeros like them.

    Raises:
        ValueError: If there is no head, or the model has no such head; names it.
    """
    counts = [answer.shape[-3] for answer in answers]
    strange = [
        (layer, head) for layer, head in heads if not (0 <= layer < len(counts) and 0 <= head < counts[layer])
    ]
    if strange or not heads:
        raise ValueError(
            f"heads must be pairs (layer, head) of the model's layers with {counts} heads, at least one, but got "
            f"{strange[0] if strange else 'none'}."
        )
    masks: dict[int, Tensor] = {}
    for layer in sorted({layer for layer, _ in heads}):
        gone = [head for where, head in heads if where == layer]
        masks[layer] = torch.isin(torch.arange(counts[layer]), torch.tensor(gone)).to(answers[layer].device)
    model = WithoutHeads(specimen.model, masks, {layer: answers[layer] for layer in masks})
    return replace(
        specimen,
        name=f"{specimen.name} without {len(set(heads))} heads",
        model=model.train(specimen.model.training),
        target_layer=specimen.target_layer and f"model.{specimen.target_layer}",
    )
