"""What a head says on average: the answer to put in its place when it is to say nothing in particular.

Replacing by zero also takes away what a head adds to every image alike, which later layers count on; the
mean over a data set takes away only what it says about this image. Source: `wang2023interpretability` (mean
ablation).
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.specimens.specimen import Specimen


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
    given = [batches] if isinstance(batches, Tensor) else batches
    return mean_answers(specimen.model, specimen.predict, given)


@torch.no_grad()
def mean_answers(
    model: nn.Module, run: Callable[[Tensor], object], batches: Iterable[Tensor]
) -> tuple[Tensor, ...]:
    """The mean answer of every head of any model, as `mean_head_outputs`.

    Args:
        model: What is watched.
        run: Puts one batch through it; the model itself will do.
        batches: Examples first.

    Raises:
        ValueError: If there is no example.
    """
    totals: dict[int, Tensor] = {}
    num_examples = 0
    for examples in batches:
        num_examples += len(examples)

        def add(attention: Attention, size: int = len(examples)) -> None:
            output = attention.output.float()
            per_example = output.unflatten(0, (size, -1)) if attention.kind == "window" else output
            total = per_example.sum(dim=0)
            totals[attention.index] = total + totals.get(attention.index, 0)

        with intercepted(model, add):
            run(examples)
    if num_examples == 0:
        raise ValueError("the mean of a head needs at least one image, but got none.")
    return tuple(totals[layer] / num_examples for layer in sorted(totals))
