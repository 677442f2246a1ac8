"""A copy of a model made for attacks: frozen, and with batch norms that follow a convolution folded into it.

In evaluation mode a batch norm multiplies and adds the same numbers for every image, so the convolution before it can
do that for free. Which convolution that is is seen by running the model once: the batch norm is given the very tensor
that the convolution returned. The copy must answer as the model does, or is thrown away.
"""

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from archaeology.core.shapes import Image
from archaeology.specimens.specimen import Specimen

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TOLERANCE = 1e-3  # of the largest logit: how far the copy's answers may lie from the model's


def fast_copy(specimen: Specimen, images: Image) -> Specimen:
    """The same model, frozen, batch norms folded, laid out as its convolutions run fastest; the original is untouched.

    Args:
        specimen: Any model.
        images: A few, in [0, 1], to see what the model does.

    Returns:
        A specimen that gives the same answers up to rounding; gradients flow to its images and not to its weights. A
        model whose copy answers otherwise (because it is random, say) is copied as it is.
    """
    plain = replace(specimen, model=frozen(copy.deepcopy(specimen.model)))
    try:
        folded = replace(plain, model=fold(copy.deepcopy(plain.model), plain, images))
        with torch.no_grad():
            wanted, found = plain.predict(images), folded.predict(images)
        alike = (wanted - found).abs().max() <= TOLERANCE * wanted.abs().max()
    except Exception:  # whatever a model of somebody else's does not like about being folded
        return plain
    return folded if alike else plain


def frozen(model: nn.Module) -> nn.Module:
    """The model itself, no weight of which wants a gradient any more."""
    return model.requires_grad_(False)


def fold(model: nn.Module, specimen: Specimen, images: Image) -> nn.Module:
    """The model itself, with each batch norm that comes right after a convolution folded into it."""
    for before, after in pairs_seen(replace(specimen, model=model), images):
        fused = fuse_conv_bn_eval(model.get_submodule(before), model.get_submodule(after))  # pyright: ignore[reportArgumentType]
        model.set_submodule(before, fused)
        model.set_submodule(after, nn.Identity())
    if any(isinstance(module, nn.Conv2d) for module in model.modules()) and specimen.kind == "convolutional":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return frozen(model)


@torch.no_grad()
def pairs_seen(specimen: Specimen, images: Image) -> list[tuple[str, str]]:
    """Paths of convolutions and of the batch norms that are given what they return, each run once."""
    returned: dict[int, tuple[str, Tensor]] = {}  # the tensor is held, so that no other gets its address
    runs: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_convolution(path: str, _module: nn.Module, _given: Any, output: Any) -> None:
        runs[path] = runs.get(path, 0) + 1
        returned[id(output)] = (path, output)

    def before_norm(path: str, _module: nn.Module, given: tuple[Any, ...]) -> None:
        runs[path] = runs.get(path, 0) + 1
        if given and id(given[0]) in returned:
            pairs.append((returned[id(given[0])][0], path))

    handles: list[Any] = []
    try:
        for path, module in specimen.model.named_modules():
            if isinstance(module, CONVOLUTIONS):
                handles.append(module.register_forward_hook(partial(after_convolution, path)))
            elif isinstance(module, NORMS) and not module.training and module.track_running_stats:
                handles.append(module.register_forward_pre_hook(partial(before_norm, path)))
        specimen.predict(images)
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair in pairs if runs[pair[0]] == 1 and runs[pair[1]] == 1]
