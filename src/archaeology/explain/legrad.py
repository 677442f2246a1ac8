"""LeGrad: how sensitive each block's own answer is to whom its tokens look at.

After every block the model's end is applied to that block's tokens, which gives an early answer; the map is the mean
over blocks, heads and queries of `ReLU(d early logit / d attention)` of that block. No attention weight appears: a
place that is not looked at counts if looking there would help. Where the model ends in an attention pool or class
attention, it is that attention, given each block's tokens, whose gradient counts. Source: `bousselham2024legrad`.
Differs: the end is the model's own readout (their code takes the mean of all tokens also for models that read the class
token); blocks are averaged from the first, not only the last few; values are raw. Gradients of the final answer, as in
a record, would be another method.
"""

from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.early import early_answers
from archaeology.capture.record import CapturedPattern
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_model
from archaeology.explain.readout import layout_of, patch_map
from archaeology.specimens.specimen import Specimen


def positive_sensitivity(layer: CapturedPattern) -> Float[Tensor, "batch key"]:
    """Mean over heads and queries of the positive part of a pattern's gradient."""
    assert layer.pattern_gradient is not None
    return layer.pattern_gradient.clamp(min=0).mean(dim=(1, 2))


@of_model("legrad", title="LeGrad", needs_attention=True)
def legrad(
    specimen: Specimen, images: Image | PixelImage, target: Label | None = None, *, first_layer: int = 0
) -> Explanation:
    """LeGrad of a class, on the grid of patches; costs about three passes.

    Args:
        specimen: A transformer whose blocks all give tokens of one shape to the next.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        first_layer: The block that the mean starts with, counted from 0, or from the end with -1 the last.

    Raises:
        ValueError: If the model has no such blocks or no token layout, or there is no block `first_layer`.

    References:
        `bousselham2024legrad`. Differs: see the module.
    """
    layout = layout_of(specimen, "legrad")
    answers = early_answers(specimen, images, target)
    count = len(answers.blocks)
    if not -count <= first_layer < count:
        raise ValueError(
            f"first_layer must be one of the {count} blocks (0 to {count - 1}, or -1 for the last), but got "
            f"{first_layer=}."
        )
    ending = list(chain(*answers.ends[first_layer:]))
    layers = ending or answers.blocks[first_layer:]
    maps = torch.stack([patch_map(positive_sensitivity(layer), layout) for layer in layers])
    return Explanation(
        heatmap=maps.mean(dim=0),
        method="legrad",
        parameters={"first_layer": first_layer},
        formula=(
            f"mean over {count - first_layer % count} blocks, heads and queries of ReLU(d s_l / dA), s_l = logit of "
            f"the model's end given the tokens of block l, A = {'attention in that end' if ending else 'its attention'}"
        ),
        target=answers.target,
    )
