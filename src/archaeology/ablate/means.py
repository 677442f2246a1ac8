"""What a head says on average: the answer to put in its place when it is to say nothing in particular.

Replacing by zero also takes away what a head adds to every image alike, which later layers count on; the
mean over a data set takes away only what it says about this image. Source: `wang2023interpretability` (mean
ablation).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.specimens.specimen import Specimen


@torch.no_grad()
def mean_head_outputs(specimen: Specimen, batches: Iterable[Tensor] | Tensor) -> tuple[Tensor, ...]:
    """The mean answer of every head at every token position, over images.

    Args:
        specimen: A model with attention.
        batches: Batches of images in [0, 1] or 8 bit, or one tensor of images.

    Returns:
        For each attention layer `(head, query, dim)`, or `(window, head, query, dim)` where it works on windows.

    Raises:
        ValueError: If there is no image.
    """
    totals: dict[int, Tensor] = {}
    num_images = 0
    for images in [batches] if isinstance(batches, Tensor) else batches:
        num_images += len(images)

        def add(attention: Attention, size: int = len(images)) -> None:
            output = attention.output.float()
            per_image = output.unflatten(0, (size, -1)) if attention.kind == "window" else output
            total = per_image.sum(dim=0)
            totals[attention.index] = total + totals.get(attention.index, 0)

        with intercepted(specimen.model, add):
            specimen.predict(images)
    if num_images == 0:
        raise ValueError("mean_head_outputs needs at least one image, but got none.")
    return tuple(totals[layer] / num_images for layer in sorted(totals))
