"""What is measured: a specimen at one image size, with random weights where nobody asked for others."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archaeology.core.device import choose_device
from archaeology.core.seeding import torch_generator
from archaeology.models.registry import build, models
from archaeology.profiling.config import SIDE_BY_SIDE, ProfileConfig
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load, parse
from archaeology.specimens.module import of_module
from archaeology.specimens.options import spec_of
from archaeology.specimens.specimen import Specimen

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
#: Libraries that can build a model without fetching weights; what a forward pass costs does not depend on them.
HAVE_RANDOM_WEIGHTS = ("timm", "torchvision", "hf", "open_clip")
OWN_IMAGE_SIZE = 32  # pixels, of our own models
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Subject:
    """One row of the table.

    Attributes:
        spec: As the user wrote it.
        image_size: Side in pixels that was asked for; None takes the specimen's own.
        patch_size: Side of a patch that was asked for; None takes the specimen's own.
    """

    spec: str
    image_size: int | None = None
    patch_size: int | None = None

    @property
    def key(self) -> str:
        """The spec with its sizes, one for each subject."""
        sizes = {"pixels": self.image_size, "patch": self.patch_size}
        return " ".join([self.spec, *(f"{word}={size}" for word, size in sizes.items() if size is not None)])


def subjects(config: ProfileConfig) -> list[Subject]:
    """All that `config` asks for: the specimens at every image size, then the patch sizes."""
    specs = config.specimens or (() if config.patch_sizes else SIDE_BY_SIDE)
    sizes = config.image_sizes or (None,)
    listed = [Subject(spec, size) for spec in specs for size in sizes]
    patched = [Subject(config.patch_model, sizes[0], patch_size) for patch_size in config.patch_sizes]
    return list(dict.fromkeys(listed + patched))


def built(subject: Subject, config: ProfileConfig) -> Specimen:
    """The specimen, on the device and in the precision asked for.

    Raises:
        UnknownNameError: If nothing has that name.
        ValueError: If it cannot be built in these sizes.
    """
    if subject.patch_size is not None and subject.spec in models:
        specimen = _own(subject, config)
    else:
        specimen = load(random_spec(subject), device=config.device)
    if subject.patch_size is not None and any(size % subject.patch_size for size in specimen.image_size):
        raise ValueError(
            f"patch_sizes must divide the image size, but got {subject.patch_size} for {subject.spec} on "
            f"{specimen.image_size[0]} x {specimen.image_size[1]} pixels; choose other --patch-sizes or --image-sizes."
        )
    specimen.model.to(getattr(torch, config.dtype))
    return specimen


def random_spec(subject: Subject) -> str:
    """The spec that builds it, with random weights unless it says itself where weights come from.

    Raises:
        UnknownNameError: If there is no such prefix.
        ValueError: If its sizes are fixed.
    """
    prefix, name, options = parse(subject.spec)
    wanted = {"img_size": subject.image_size, "patch_size": subject.patch_size}
    given = {key: size for key, size in wanted.items() if size is not None}
    if prefix not in HAVE_RANDOM_WEIGHTS:
        if given:
            raise ValueError(
                f"{subject.spec} was trained for images and patches of one size, so --image-sizes and --patch-sizes "
                "must be left out; profile it by itself."
            )
        return subject.spec
    if not {"pretrained", "file", "weights"} & set(options):
        given["pretrained"] = False
    return spec_of(prefix, name, {**options, **given})


def _own(subject: Subject, config: ProfileConfig) -> Specimen:
    """One of our own architectures, with its usual arguments and the patch size asked for."""
    side = subject.image_size or OWN_IMAGE_SIZE
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        model = build(subject.spec, {"image_size": side, "patch_size": subject.patch_size})
    declared: Any = getattr(model, "token_layout", None)
    layout = None if declared is None else TokenLayout(**declared())
    specimen = of_module(
        model, name=subject.spec, image_size=(side, side), mean=HALF, std=HALF, layout=layout
    )
    specimen.model.to(load_device(config))
    return specimen


def load_device(config: ProfileConfig) -> torch.device:
    """Where to measure."""
    return choose_device(config.device)


def normalised_images(specimen: Specimen, batch: int, seed: int) -> Tensor:
    """Noise of the size, precision and place that the model takes; what it shows does not change what it costs."""
    images = torch.randn(batch, 3, *specimen.image_size, generator=torch_generator(seed, "profile", batch))
    return images.to(specimen.device, specimen.dtype)


@torch.inference_mode()
def forward(model: nn.Module, images: Tensor) -> None:
    """One pass as in use: no gradients; waits until a GPU has done it."""
    model(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    elif images.device.type == "mps":
        torch.mps.synchronize()
