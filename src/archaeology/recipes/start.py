"""Where a training starts from: fresh weights, or a specimen's, with a head for other classes at another image size.

What is learned for places is stretched to the new grid; the head starts anew, as the classes are others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from archaeology.models.registry import build
from archaeology.models.resized import resized_positions
from archaeology.recipes.origin import find_origin


@dataclass(frozen=True)
class Start:
    """A model before its training.

    Attributes:
        model: With the weights it starts from.
        architecture: A registered model.
        arguments: That rebuild it.
        mean: Of the normalisation, per channel in [0, 1].
        std: Likewise.
        heads: Paths of the modules that give the answer.
        source: The specimen whose weights it has; None for fresh ones.
    """

    model: nn.Module
    architecture: str
    arguments: Mapping[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    heads: tuple[str, ...]
    source: str | None = None


def start_from(spec: str, num_classes: int, image_size: tuple[int, int]) -> Start:
    """The model of a specimen, ready to learn other classes.

    Args:
        spec: As for `find_origin`: "run:FOLDER", "bundled:NAME", "timm:NAME", "hf:NAME" or so.
        num_classes: Logits of the new head.
        image_size: Height and width of the new images in pixels.

    Raises:
        ValueError: If no model of ours is meant or equals it, or no patch divides the new images.
        UnknownNameError: If there is no such model.
        ConnectionError: If weights have to be fetched and cannot be.
    """
    origin = find_origin(spec)
    size = image_size[0] if isinstance(origin.arguments.get("image_size"), int) else image_size
    arguments = {**origin.arguments, "num_classes": num_classes, "image_size": size}
    if isinstance(size, int) and image_size[0] != image_size[1]:
        raise ValueError(f"{spec} takes square images, but got image_size={image_size}; crop them.")
    model = build(origin.architecture, arguments)
    heads = heads_of(origin.architecture, arguments)
    hand_over(origin.model, model, heads)
    return Start(model, origin.architecture, arguments, origin.mean, origin.std, heads, spec)


def heads_of(architecture: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of the modules whose weights depend on the number of classes."""
    count = arguments["num_classes"]
    with torch.device("meta"):
        one, other = (build(architecture, {**arguments, "num_classes": count + more}) for more in (0, 1))
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    changed = [name for name, tensor in one.state_dict().items() if shapes[name] != tensor.shape]
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in changed))


@torch.no_grad()
def hand_over(old: nn.Module, new: nn.Module, heads: tuple[str, ...]) -> None:
    """Give `new` the weights of `old`, but for the heads; positions are stretched."""
    tensors = resized_positions(old, new)
    fresh = new.state_dict()
    for name in fresh:
        if name.rpartition(".")[0] in heads:
            tensors[name] = fresh[name]
    new.load_state_dict(tensors)
