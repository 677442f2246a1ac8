"""Which heads matter: replace what one head says and see what it costs, for every head, exactly.

Importance is the drop in accuracy and the rise in loss when the head's answer is replaced by its mean over
the data (or by zero), on the same images. Source: `michel2019sixteen`, with zeros. Differs: the mean by
default, and every head measured, none estimated from gradients. Cost: with H heads and L layers about half
of H x L passes, because only the part of the model after the head runs again (`capture/suffix.py`), checked
against whole passes on the first batch.
"""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from archaeology.ablate.means import mean_head_outputs
from archaeology.ablate.result import HeadAblation, joined
from archaeology.ablate.sweep import Sweep, sweep_of
from archaeology.core.registry import unknown_name
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.specimens.specimen import Specimen

REPLACEMENTS = ("mean", "zero")
PIXELS_PER_PASS = 16 * 224 * 224
NUM_LOOKED_AT = 2


def ablate_heads(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    replacement: str = "mean",
    means: tuple[Tensor, ...] | None = None,
    batch_size: int | None = None,
) -> HeadAblation:
    """Replace every head of every layer in turn, and keep what it did to each image.

    Args:
        specimen: A model with attention.
        images: Of any number; they go through in batches.
        labels: Their classes, as numbers of the specimen's logits.
        replacement: "mean" (of the head over a data set) or "zero".
        means: From `mean_head_outputs`; taken over `images` if None. Of no use with "zero".
        batch_size: Images at once; if None, as many as keep a pass over all heads of a layer small.

    Raises:
        UnknownNameError: If `replacement` is neither.
        ValueError: If labels do not fit the images or the classes, or there is no image.
        SelfCheckError: If the model shows no attention.
    """
    if replacement not in REPLACEMENTS:
        raise unknown_name("replacement", replacement, list(REPLACEMENTS))
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"ablate_heads needs at least one image and a label for each, but got {len(images)} images and "
            f"{len(labels)} labels."
        )
    pass_size = _images_per_pass(specimen)
    if replacement == "mean" and means is None:
        means = mean_head_outputs(specimen, images.split(pass_size))
    sweep = sweep_of(
        specimen,
        images[:NUM_LOOKED_AT],
        means=means if replacement == "mean" else None,
        max_batch=pass_size,
    )
    step = batch_size or max(1, pass_size // max(layer.num_heads for layer in sweep.layers))
    parts = [
        _of_batch(sweep, some, truth, replacement)
        for some, truth in zip(images.split(step), labels.split(step), strict=True)
    ]
    return joined(parts)


def _images_per_pass(specimen: Specimen) -> int:
    height, width = specimen.image_size
    return max(1, PIXELS_PER_PASS * (1 if specimen.device.type == "cpu" else 16) // (height * width))


def _of_batch(sweep: Sweep, images: Image | PixelImage, labels: Label, replacement: str) -> HeadAblation:
    logits = sweep.logits(sweep.specimen.prepare(images))
    _check(labels, logits.whole.shape[-1])
    labels = labels.to(logits.whole.device)
    correct, loss = _judged(logits.whole[None], labels)
    heads = tuple(layer.num_heads for layer in sweep.layers)
    shape = (len(images), len(heads), max(heads))
    ablated_correct, ablated_loss = np.full(shape, np.nan), np.full(shape, np.nan)
    for layer, of_heads in enumerate(logits.ablated):
        right, cost = _judged(of_heads, labels)
        ablated_correct[:, layer, : heads[layer]] = right.T
        ablated_loss[:, layer, : heads[layer]] = cost.T
    return HeadAblation(
        modules=tuple(layer.module for layer in sweep.layers),
        heads=heads,
        correct=correct[0],
        loss=loss[0],
        ablated_correct=ablated_correct,
        ablated_loss=ablated_loss,
        replacement=replacement,
        methods=tuple(sweep.methods),
    )


def _check(labels: Label, num_classes: int) -> None:
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}, the classes of the model, but got {int(labels.min())} to "
            f"{int(labels.max())}; where there are no labels, pass the model's own predictions."
        )


def _judged(logits: Tensor, labels: Label) -> tuple[np.ndarray, np.ndarray]:
    """Whether each is right, and its cross-entropy: `(head, image)`."""
    right = logits.argmax(dim=-1) == labels
    log_chances = F.log_softmax(logits.float(), dim=-1)
    chosen = labels.expand(logits.shape[:-1])[..., None]
    loss = -log_chances.gather(-1, chosen)[..., 0]
    return right.double().cpu().numpy(), loss.double().cpu().numpy()
