"""Where a training starts from: fresh weights, or a specimen's, with a head for other classes at another image size.

What is learned for places is stretched to the new grid; the head starts anew, as the classes are others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archaeology.core.storage import read_tensors
from archaeology.models.registry import build
from archaeology.models.resized import resized_positions
from archaeology.specimens.bundled import bundled_folder
from archaeology.specimens.run import fill, read_config

OURS = ("run", "bundled")


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
        spec: "run:FOLDER" or "bundled:NAME", a model of ours.
        num_classes: Logits of the new head.
        image_size: Height and width of the new images in pixels.

    Raises:
        ValueError: If it is no model of ours, or no patch divides the new images.
    """
    library, _, name = spec.partition(":")
    if library not in OURS:
        raise ValueError(
            f"--start takes a model of ours ({', '.join(f'{one}:...' for one in OURS)}), but got {spec!r}; "
            "fine-tune others by a recipe whose architecture is 'timm'."
        )
    folder = Path(name) if library == "run" else bundled_folder() / name
    config = read_config(folder)
    old = build(config["architecture"], config["arguments"])
    fill(old, read_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    size = image_size[0] if isinstance(config["arguments"].get("image_size"), int) else image_size
    arguments = {**config["arguments"], "num_classes": num_classes, "image_size": size}
    if isinstance(size, int) and image_size[0] != image_size[1]:
        raise ValueError(f"{spec} takes square images, but got image_size={image_size}; crop them.")
    model = build(config["architecture"], arguments)
    heads = heads_of(config["architecture"], arguments)
    hand_over(old, model, heads)
    mean, std = (tuple(config[key]) for key in ("mean", "std"))
    return Start(model, config["architecture"], arguments, mean, std, heads, spec)


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
