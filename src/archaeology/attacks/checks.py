"""What an attack is given, checked once before it runs; each message says what must hold, what came and what to do."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import unit_images
from archaeology.core.halving import in_halves
from archaeology.core.shapes import Image, Label, Logits
from archaeology.specimens.specimen import Specimen


def attackable(images: Tensor, device: torch.device) -> Image:
    """Images in [0, 1] on that device, in float32 at least: in half precision a bound means nothing."""
    images = unit_images(images, device)
    return images if images.dtype == torch.float64 or not images.is_floating_point() else images.float()


@torch.no_grad()
def answers(specimen: Specimen, images: Image, at_once: int) -> Logits:
    """The model's own logits, at least in float32.

    Raises:
        ValueError: If there is no image, or an answer is not finite.
    """
    if len(images) == 0:
        raise ValueError("an attack needs at least one image, but got none.")
    parts = in_halves(lambda some: predicted(specimen, images[some]), len(images), at_once)
    logits = torch.cat([part for _, part in parts])
    if not logits.isfinite().all():
        bad = int((~logits.isfinite().all(dim=1)).sum())
        raise ValueError(
            f"an attack needs finite answers, but {specimen.name} gives NaN or infinity for {bad} of {len(logits)} "
            "images; mend the model, or run it in float32."
        )
    return logits if logits.dtype == torch.float64 else logits.float()


def predicted(specimen: Specimen, images: Image) -> Logits:
    """Logits; convolutions run up to twice as fast where the channels of a pixel lie side by side."""
    if specimen.kind != "convolutional":
        return specimen.predict(images)
    try:
        return specimen.predict(images.contiguous(memory_format=torch.channels_last))
    except (
        RuntimeError
    ):  # a model that needs the usual layout, because it calls `view`, say; or memory ran out
        return specimen.predict(images)


def checked_labels(labels: Tensor, logits: Logits) -> Label:
    """Labels on the model's device.

    Raises:
        ValueError: If there is not one for each image, one is no class of the model, or it has fewer than two.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"an attack needs logits (batch, classes) of two classes or more, but got shape {tuple(logits.shape)}; "
            "give a model with one logit a second one that is 0."
        )
    if labels.ndim != 1 or len(labels) != len(logits) or labels.is_floating_point():
        raise ValueError(
            f"labels must be one whole number for each of {len(logits)} images, but got {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    labels = labels.to(logits.device, torch.long)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels must be classes of the model, 0 to {logits.shape[1] - 1}, but got {low} to {high}; "
            "do the data and the model have the same classes?"
        )
    return labels


def checked_epsilon(
    name: str, epsilon: Any, norm: str, images: Image, *, bounded: bool
) -> Float[Tensor, " batch"]:
    """An epsilon for each image, infinite for an attack that takes none.

    Raises:
        ValueError: If it is missing or not wanted, below zero, not finite, or seems to be meant in 0-255 units.
    """
    if not bounded:
        if epsilon is not None:
            raise ValueError(
                f"{name} looks for the smallest change and takes no epsilon, but got {epsilon=}; leave it out, or use "
                "a bounded attack such as pgd."
            )
        return torch.full((len(images),), torch.inf, device=images.device)
    if epsilon is None:
        raise ValueError(f"{name} needs epsilon, the largest change of images in [0, 1], such as 8/255.")
    size = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device)
    if size.ndim > 1 or (size.ndim == 1 and len(size) != len(images)):
        raise ValueError(
            f"epsilon must be one number, or one for each of {len(images)} images, but got shape {tuple(size.shape)}."
        )
    largest = 1.0 if norm == "linf" else images[0].numel() ** 0.5
    if not (size.isfinite().all() and (size >= 0).all()):
        raise ValueError(f"epsilon must be a finite number >= 0, but got {epsilon}.")
    if (size > largest).any():
        meant = float(size.max())
        raise ValueError(
            f"epsilon in {norm} must be at most {largest:g}, because images lie in [0, 1], but got {meant:g}; "
            f"did you mean {meant:g}/255?"
        )
    return size.expand(len(images)).clone()
