"""A preview of which heads matter, from one forward and one backward pass: a guess by slope, never the answer.

The loss is taken for a straight line in each head's answer: estimated rise = gradient x (replacement - answer), summed
over tokens and features. All heads at once, each as if alone. How far the guess can be trusted is itself measured:
`rank_agreement` compares it with exact ablation. Source: `molchanov2017pruning` (for channels of convolutions);
`michel2019sixteen` (for heads, as a gate's slope, without sign).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from archaeology.ablate.cuts import places_of
from archaeology.ablate.result import HeadAblation
from archaeology.ablate.stand_ins import StandIns
from archaeology.ablate.trial import Trial, check_classes, trial_of
from archaeology.capture.edit import Edits, HeadWatch
from archaeology.capture.finite import not_finite
from archaeology.capture.interceptor import intercepted
from archaeology.core.bootstrap import bootstrap_of
from archaeology.core.halving import in_halves
from archaeology.core.intervals import Interval, bootstrap_means
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class HeadEstimate:
    """How much the loss of each image would rise without each head, if it were a straight line: a preview.

    Attributes:
        modules: Module path of each attention layer.
        heads: How many heads each layer has.
        rise: Estimated rise of the loss, in nats; NaN beyond a layer's last head.
        replacement: What heads would say instead.
    """

    modules: tuple[str, ...]
    heads: tuple[int, ...]
    rise: Float[np.ndarray, "image layer head"]
    replacement: str

    def table(self, seed: int = 0) -> list[dict[str, object]]:
        """One row for each head: `layer, head, module, n`, `estimated_loss` with `_low` and `_high`, `is_preview`.

        Intervals are 95 %, bootstrapped over images: how sure the estimate's mean is, not how right the estimate.
        """
        places = places_of(self.heads)
        layers, heads = np.array(places).T
        intervals = bootstrap_means(self.rise[:, layers, heads], seed=seed)
        return [
            {
                "layer": layer,
                "head": head,
                "module": self.modules[layer],
                "estimated_loss": interval.value,
                "estimated_loss_low": interval.low,
                "estimated_loss_high": interval.high,
                "n": interval.n,
                "is_preview": True,
            }
            for (layer, head), interval in zip(places, intervals, strict=True)
        ]


def estimate_heads(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    replacement: str = "mean",
    means: tuple[Tensor, ...] | None = None,
    others: OtherImages | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> HeadEstimate:
    """Estimate what `ablate_heads` would find, by one forward and one backward pass over the images.

    Args and raises as `ablate_heads`; "mean" needs another forward pass where no means are given.
    """
    trial = trial_of(
        specimen,
        images,
        labels,
        replacement=replacement,
        means=means,
        others=others,
        seed=seed,
    )
    found = in_halves(lambda which: _slopes(trial, which), len(images), batch_size or trial.sweep.max_batch)
    return HeadEstimate(
        modules=tuple(layer.module for layer in trial.sweep.layers),
        heads=trial.sweep.heads,
        rise=np.concatenate([part for _, part in found]),
        replacement=replacement,
    )


def rank_agreement(estimate: HeadEstimate, exact: HeadAblation, *, seed: int = 0) -> Interval:
    """Spearman's correlation, over heads, of the mean estimated and the mean exact rise of the loss.

    Args:
        estimate: From `estimate_heads`.
        exact: From `ablate_heads`, on the same images with the same replacement.
        seed: Of the resampling of images.

    Returns:
        With a 95 % interval, bootstrapped over images; NaN where there is but one head.

    Raises:
        ValueError: If the two do not speak of the same heads, images and replacement.
    """
    if estimate.rise.shape != exact.ablated_loss.shape or (estimate.modules, estimate.replacement) != (
        exact.modules,
        exact.replacement,
    ):
        raise ValueError(
            "an estimate can be compared with an exact ablation of the same heads on the same images with the same "
            f"replacement, but got {estimate.rise.shape} with {estimate.replacement!r} and {exact.ablated_loss.shape} "
            f"with {exact.replacement!r} (image, layer, head)."
        )
    layers, heads = np.array(places_of(exact.heads)).T
    risen = exact.ablated_loss - exact.loss[:, None, None]
    both = np.stack([estimate.rise[:, layers, heads], risen[:, layers, heads]], axis=1)
    found = bootstrap_of(both, _spearman, seed=seed)
    return found.at()


def _spearman(means: Float[np.ndarray, "resample two head"]) -> Float[np.ndarray, " resample"]:
    ranks = np.asarray(stats.rankdata(means, axis=-1))
    centred = ranks - ranks.mean(axis=-1, keepdims=True)
    sizes = np.sqrt((centred**2).sum(axis=-1))
    return (centred[:, 0] * centred[:, 1]).sum(axis=-1) / (sizes[:, 0] * sizes[:, 1])


def _slopes(trial: Trial, which: slice) -> Float[np.ndarray, "image layer head"]:
    """Gradient times change, for the images of one batch."""
    specimen, sweep = trial.sweep.specimen, trial.sweep
    watched = [HeadWatch(layer) for layer in range(len(sweep.layers))]
    with torch.enable_grad(), intercepted(specimen.model, None, edit=Edits(tuple(watched))):
        logits = specimen.model(specimen.prepare(trial.images[which]))
        labels = trial.labels[which].to(logits.device)
        check_classes(labels, logits.shape[-1])
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
    if not logits.isfinite().all():
        raise not_finite(specimen, trial.images[which])
    answers = [answer for watch in watched for answer in watch.seen]
    gradients = iter(torch.autograd.grad(loss, answers, allow_unused=True))
    stand_ins = trial.stand_ins(which)
    rise = np.full((len(labels), len(sweep.layers), max(sweep.heads)), np.nan)
    for watch in watched:
        slope = sum(
            _change(watch, number, stand_ins, gradient, len(labels))
            for number, gradient in zip(range(len(watch.seen)), gradients, strict=False)
        )
        assert isinstance(slope, Tensor)
        rise[:, watch.layer, : sweep.heads[watch.layer]] = slope.double().cpu().numpy()
    return rise


def _change(
    watch: HeadWatch, number: int, stand_ins: StandIns, gradient: Tensor | None, num_images: int
) -> Float[Tensor, "image head"]:
    """Slope of one product of a layer's pattern; a replacement stands in for the first, zero for any other."""
    answer = watch.seen[number].detach().float().unflatten(0, (num_images, -1))
    if gradient is None:
        return answer.new_zeros(num_images, answer.shape[2])
    instead = stand_ins.heads.get(watch.layer) if number == 0 else None
    if instead is not None and stand_ins.num_images:
        instead = instead.unflatten(0, (num_images, -1))
    change = (0 if instead is None else instead.to(answer)) - answer
    return (gradient.float().unflatten(0, (num_images, -1)) * change).sum(dim=(1, 3, 4))
