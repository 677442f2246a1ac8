"""Weights to start from, in a model of ours: of a run, bundled, or published for a model that ours equals.

Published weights are fetched only when somebody names them; `?pretrained=false` takes random ones instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from archaeology.core.registry import unknown_name
from archaeology.core.storage import read_tensors
from archaeology.models.huggingface_weights import from_huggingface, renamed_huggingface
from archaeology.models.registry import build
from archaeology.models.timm_weights import from_timm, renamed
from archaeology.specimens.bundled import bundled_folder
from archaeology.specimens.huggingface import ImageModel, load_huggingface
from archaeology.specimens.load import parse
from archaeology.specimens.run import fill, read_config
from archaeology.specimens.specimen import Specimen
from archaeology.specimens.timm import load_timm
from archaeology.specimens.torchvision import load_torchvision

#: torchvision's models that are ones of ours.
OF_TORCHVISION = ("resnet50",)
#: What may follow the `?`; the number of classes and the image size are those of the data.
OPTIONS = ("pretrained", "seed", "file", "weights", "mean", "std")
NUM_CLASSES = 1000  # of ImageNet; whatever the head of the origin says, a new one takes its place


@dataclass(frozen=True)
class Origin:
    """A model of ours with weights that somebody trained, or random ones.

    Attributes:
        model: On the CPU.
        architecture: A registered model.
        arguments: That rebuild it.
        mean: Of the normalisation it expects, per channel in [0, 1].
        std: Likewise.
    """

    model: nn.Module
    architecture: str
    arguments: Mapping[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def find_origin(spec: str) -> Origin:
    """The model that `spec` names, as one of ours.

    Args:
        spec: "run:FOLDER", "bundled:NAME", "timm:NAME", "hf:NAME" (or folder) or "torchvision:NAME", the latter three
            with options such as "?pretrained=false".

    Raises:
        ValueError: If it is no model of ours, or the options do not fit.
        UnknownNameError: If there is no such model, or none of ours equals it.
        ConnectionError: If weights have to be fetched and cannot be.
    """
    library = spec.partition(":")[0]
    if library not in ORIGINS:
        raise ValueError(
            f"--start takes a model of ours or one that ours equals ({', '.join(f'{one}:...' for one in ORIGINS)}), "
            f"but got {spec!r}; archaeology list models shows the architectures."
        )
    return ORIGINS[library](spec)


def of_folder(folder: Path) -> Origin:
    """What `archaeology train` wrote into a folder."""
    config = read_config(folder)
    model = build(config["architecture"], config["arguments"])
    fill(model, read_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    mean, std = (tuple(config[key]) for key in ("mean", "std"))
    return Origin(model, config["architecture"], config["arguments"], mean, std)


def of_timm(spec: str) -> Origin:
    """A model of timm, its tensors renamed, at the image size of its name."""
    _, name, options = parse(spec)
    architecture, arguments = from_timm(name, num_classes=NUM_CLASSES)
    theirs = load_timm(name, {**accepted(spec, options), "num_classes": NUM_CLASSES})
    return published(theirs, architecture, arguments, renamed(name, theirs.model.state_dict()))


def of_huggingface(spec: str) -> Origin:
    """A model of Hugging Face, its tensors renamed; a head that does not fit ours is left fresh, as a new one comes."""
    _, name, options = parse(spec)
    theirs = load_huggingface(name, accepted(spec, options))
    assert isinstance(theirs.model, ImageModel)
    network = theirs.model.network
    config: Any = network.config
    tensors = network.state_dict()
    architecture, arguments = from_huggingface(
        config.to_dict(),
        reads_both="distillation_classifier.weight" in tensors,
        num_classes=len(theirs.classes) or NUM_CLASSES,
    )
    return published(theirs, architecture, arguments, renamed_huggingface(config.model_type, tensors))


def of_torchvision(spec: str) -> Origin:
    """A model of torchvision; the names of the tensors are the same."""
    _, name, options = parse(spec)
    if name not in OF_TORCHVISION:
        raise unknown_name("counterpart of a torchvision model", name, list(OF_TORCHVISION))
    theirs = load_torchvision(name, accepted(spec, options))
    return published(theirs, name, {"image_size": 224, "num_classes": NUM_CLASSES}, theirs.model.state_dict())


def accepted(spec: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options themselves.

    Raises:
        ValueError: If they would make another model.
    """
    if others := [name for name in options if name not in OPTIONS]:
        raise ValueError(
            f"{spec} may have the options {', '.join(OPTIONS)} where a training starts from it, but has "
            f"{', '.join(others)}; classes and image size are those of the data."
        )
    return options


def published(theirs: Specimen, architecture: str, arguments: dict[str, Any], tensors: Any) -> Origin:
    """Ours with their weights."""
    model = build(architecture, arguments)
    heads = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("head")}
    fitting = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in heads or tensor.shape == heads[name].shape
    }
    model.load_state_dict(heads | fitting)
    return Origin(model, architecture, arguments, theirs.mean, theirs.std)


ORIGINS: dict[str, Callable[[str], Origin]] = {
    "run": lambda spec: of_folder(Path(spec.partition(":")[2])),
    "bundled": lambda spec: of_folder(bundled_folder() / spec.partition(":")[2]),
    "timm": of_timm,
    "hf": of_huggingface,
    "torchvision": of_torchvision,
}
