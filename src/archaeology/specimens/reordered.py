"""The same model with its classes in another order, so that several models and the data mean the same by a number."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from archaeology.specimens.specimen import Specimen


class Reordered(nn.Module):
    """A model whose logits come in another order."""

    def __init__(self, model: nn.Module, order: Tensor) -> None:
        """Wrap `model`; `order` holds the number of each logit in turn."""
        super().__init__()
        self.model = model
        self.register_buffer("order", order, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits in the new order."""
        return self.model(images)[:, self.order]


def reordered(specimen: Specimen, first: Sequence[int]) -> Specimen:
    """The specimen with these logits in front, in this order, and all others after them.

    Args:
        specimen: Any model with named classes.
        first: Numbers of logits, each once.

    Returns:
        The specimen itself where they are in front already.

    Raises:
        ValueError: If a number stands twice or is no class of the model.
    """
    count = len(specimen.classes)
    if len(set(first)) < len(first) or not all(0 <= number < count for number in first):
        raise ValueError(
            f"first must be numbers of different classes of {specimen.name}, 0 to {count - 1}, but got {list(first)}."
        )
    if list(first) == list(range(len(first))):
        return specimen
    order = [*first, *(number for number in range(count) if number not in set(first))]
    wrapped = Reordered(specimen.model, torch.tensor(order, device=specimen.device)).train(
        specimen.model.training
    )
    layer = specimen.target_layer
    return replace(
        specimen,
        model=wrapped,
        classes=tuple(specimen.classes[number] for number in order),
        target_layer=None if layer is None else f"model.{layer}",
    )
