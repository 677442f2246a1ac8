"""Where a model first says NaN or infinity: one pass in which every module's output is looked at."""

from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen


@torch.no_grad()
def first_not_finite(specimen: Specimen, images: Image | PixelImage) -> str | None:
    """The path of the first module whose output holds NaN or infinity, innermost; None if all are finite."""
    found: list[str] = []

    def look(path: str, module: nn.Module, given: object, output: object) -> None:
        tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
        if not found and not all(bool(tensor.isfinite().all()) for tensor in tensors):
            found.append(path)

    with ExitStack() as stack:
        for path, module in specimen.model.named_modules():
            stack.callback(module.register_forward_hook(partial(look, path)).remove)
        specimen.predict(images)
    return found[0] if found else None


def not_finite(specimen: Specimen, images: Image | PixelImage) -> ValueError:
    """The error for a specimen whose logits are not all finite; names the layer where that begins."""
    path = first_not_finite(specimen, images)
    layer = "its logits" if path is None else f"layer {path or 'of the whole model'}"
    return ValueError(
        f"A model's answers must be finite to be measured, but {layer} of {specimen.name} returned NaN or infinity; "
        "look at its weights, or run it in float32."
    )
