"""Which heads matter: replace what one head says and see what it costs, for every head, exactly.

Importance is the drop in accuracy and the rise in loss when the head's answer is replaced by its mean over
the data (or by zero, or by its answer on another image), on the same images. Source: `michel2019sixteen`, with
zeros. Differs: the mean by default, and every head measured, none estimated from gradients. Cost: with H heads
and L layers about half of H x L passes, because only the part of the model after the head runs again
(`capture/suffix.py`), checked against whole passes on the first batch.
"""

import numpy as np
from jaxtyping import Int
from torch import Tensor

from archaeology.ablate.cuts import of_each_head, places_of
from archaeology.ablate.result import HeadAblation
from archaeology.ablate.trial import trial_of
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.specimens.specimen import Specimen


def ablate_heads(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    replacement: str = "mean",
    means: tuple[Tensor, ...] | None = None,
    others: OtherImages | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> HeadAblation:
    """Replace every head of every layer in turn, and keep what it did to each image.

    Args:
        specimen: A model with attention.
        images: Of any number; they go through in batches, in smaller ones where memory runs out.
        labels: Their classes, as numbers of the specimen's logits.
        replacement: "mean" (of the head over a data set), "zero", or "another" (the same head's answer on another
            image).
        means: From `mean_head_outputs`; taken over `images` if None. Of no use but with "mean".
        others: For "another", the images whose answers are put in, one for each image; drawn from `images` if None,
            never an image itself.
        seed: Of that drawing.
        batch_size: Images at once; if None, as many as keep a pass over all heads of a layer small.

    Raises:
        UnknownNameError: If there is no such replacement.
        ValueError: If labels or others do not fit the images or the classes, there is no image, or the model's
            answers are not finite (names the layer).
        SelfCheckError: If the model shows no attention.
    """
    trial = trial_of(
        specimen,
        images,
        labels,
        replacement=replacement,
        means=means,
        others=others,
        seed=seed,
        batch_size=batch_size,
    )
    sweep = trial.sweep
    found = trial.outcomes(of_each_head(sweep.heads))
    layers, heads = np.array(places_of(sweep.heads)).T
    shape = (len(images), len(sweep.heads), max(sweep.heads))
    ablated_correct, ablated_loss = np.full(shape, np.nan), np.full(shape, np.nan)
    ablated_correct[:, layers, heads] = found.cut_correct
    ablated_loss[:, layers, heads] = found.cut_loss
    return HeadAblation(
        modules=tuple(layer.module for layer in sweep.layers),
        heads=sweep.heads,
        correct=found.correct,
        loss=found.loss,
        ablated_correct=ablated_correct,
        ablated_loss=ablated_loss,
        replacement=replacement,
        methods=tuple(sweep.methods[layer, False] for layer in range(len(sweep.layers))),
    )
