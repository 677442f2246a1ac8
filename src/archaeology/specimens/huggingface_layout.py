"""Where the patches of a Hugging Face model lie among its tokens, from its configuration and its parameters."""

import math
from typing import Any

from torch import nn

from archaeology.specimens.anatomy import kind_of, prefix_of, transformer_target
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.options import Pair

# Classifiers that read the mean of the patches although there is a class token.
READS_MEAN = ("CLIPForImageClassification", "MetaClip2ForImageClassification")
# Classifiers that read both.
READS_BOTH = ("Dinov2ForImageClassification", "Dinov2WithRegistersForImageClassification")


def huggingface_layout(network: nn.Module, vision: Any, image_size: Pair) -> TokenLayout | None:
    """The token layout, or None for a model without attention or whose grid the configuration does not tell."""
    if kind_of(network) != "transformer":
        return None
    reduction = _reduction(vision)
    if reduction is not None:
        rows, columns = (-(-size // reduction) for size in image_size)
        return TokenLayout(rows, columns, (), "mean", "windows")
    patch = getattr(vision, "patch_size", None)
    if patch is None or _is_hierarchical(vision):
        return None
    patch_height, patch_width = (patch, patch) if isinstance(patch, int) else patch
    prefix = prefix_of(network)
    means = type(network).__name__ in READS_MEAN or getattr(vision, "use_mean_pooling", False)
    reads_class = "class" in prefix and not means
    rows, columns = image_size[0] // patch_height, image_size[1] // patch_width
    return TokenLayout(rows, columns, prefix, "class_token" if reads_class else "mean")


def unusual_readout(network: nn.Module) -> str | None:
    """In words, a readout that is neither the class token nor the mean of the patches."""
    name = type(network).__name__
    if name in READS_BOTH:
        return "class token and mean of the patches; maps read the class token"
    if name == "DeiTForImageClassificationWithTeacher":
        return "mean of the classifier and the distillation head; maps read the class token"
    if any(
        "attention" in type(child).__name__.lower() and "pool" in type(child).__name__.lower()
        for child in network.children()
    ):
        return "attention pooling; maps read the mean of the patches"
    return None


def huggingface_target(network: nn.Module) -> str | None:
    """Where Grad-CAM looks: the first norm of the last block, or the last stage of a CNN."""
    if kind_of(network) == "transformer":
        return transformer_target(network)
    stages = [
        f"{name}.{len(module) - 1}"
        for name, module in network.named_modules()
        if name.rpartition(".")[2] == "stages" and isinstance(module, nn.ModuleList)
    ]
    return stages[-1] if stages else None


def _is_hierarchical(vision: Any) -> bool:
    fields = (getattr(vision, name, None) for name in ("depths", "depth", "hidden_sizes", "strides"))
    return any(isinstance(field, list | tuple) for field in fields)


def _reduction(vision: Any) -> int | None:
    """By how much a model in stages has shrunk the image at its end; None for others and where it is not told."""
    if not _is_hierarchical(vision):
        return None
    strides = getattr(vision, "strides", None) or getattr(vision, "patch_stride", None)
    depths = getattr(vision, "depths", None)
    patch = getattr(vision, "patch_size", None)
    if isinstance(strides, list | tuple) and len(strides) > 2:
        return math.prod(strides)
    if isinstance(depths, list | tuple) and isinstance(patch, int):
        return patch * 2 ** (len(depths) - 1)
    return getattr(vision, "output_stride", None)
