"""Images, labels and a sweep made ready: ask what any cuts do to each image, in batches that fit.

All that this package measures about parts of a model comes through here, so that every effect is exact, paired over
the same images, and told in the same units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.ablate.cuts import Cuts
from archaeology.ablate.stand_ins import StandIns, answers, check_replacement, drawn_others, mean_stand_ins
from archaeology.ablate.sweep import Logits, Sweep, sweep_of
from archaeology.capture.finite import not_finite
from archaeology.core.halving import in_halves
from archaeology.core.shapes import Image, Label, OtherImages, PixelImage
from archaeology.specimens.specimen import Specimen

PIXELS_PER_PASS = 16 * 224 * 224
NUM_LOOKED_AT = 2


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of each image.

    Attributes:
        correct: 1 where the base, usually the whole model, is right, else 0.
        loss: Its cross-entropy, in nats.
        cut_correct: The same with each cut.
        cut_loss: The same with each cut.
    """

    correct: Float[np.ndarray, " image"]
    loss: Float[np.ndarray, " image"]
    cut_correct: Float[np.ndarray, "image cut"]
    cut_loss: Float[np.ndarray, "image cut"]


@dataclass(frozen=True, eq=False)
class Trial:
    """A sweep with the images to try it on.

    Attributes:
        sweep: Runs the model with cuts.
        images: Of any number; they go through in batches.
        labels: Their classes.
        same: Stand-ins that are the same for all images, or None.
        others: The images, one for each, whose answers stand in where `same` is None.
        at_once: Images in a batch to begin with.
        paths: Modules whose outputs stand in, besides heads, where `same` is None.
    """

    sweep: Sweep
    images: Image | PixelImage
    labels: Int[Tensor, " image"]
    same: StandIns | None
    others: OtherImages | None
    at_once: int
    paths: tuple[str, ...] = ()

    def logits(self, cuts: Cuts, base: Cuts | None = None) -> Iterator[tuple[slice, Logits]]:
        """Logits of the images, batch after batch; fewer images at once where memory runs out.

        Raises:
            ValueError: If logits are not finite; names the layer or the cut.
        """
        specimen = self.sweep.specimen

        def run(which: slice) -> Logits:
            return self.sweep.logits(specimen.prepare(self.images[which]), cuts, self.stand_ins(which), base)

        for which, found in in_halves(run, len(self.images), self.at_once):
            if not found.whole.isfinite().all():
                raise not_finite(specimen, self.images[which])
            broken = ~found.ablated.flatten(1).isfinite().all(dim=1)
            if broken.any():
                raise ValueError(
                    f"A model's answers must be finite to be measured, but with {cuts.named(int(broken.nonzero()[0]))} "
                    f"replaced those of {specimen.name} hold NaN or infinity; run it in float32."
                )
            yield which, found

    def outcomes(self, cuts: Cuts, base: Cuts | None = None) -> Outcomes:
        """What the cuts do to each image.

        Args:
            cuts: What to replace.
            base: A cut that all of them include; None for the whole model.

        Raises:
            ValueError: If logits are not finite, or labels are no classes of the model.
        """
        parts: list[Outcomes] = []
        for which, found in self.logits(cuts, base):
            labels = self.labels[which]
            check_classes(labels, found.whole.shape[-1])
            correct, loss = judged(found.whole[None], labels.to(found.whole.device))
            cut_correct, cut_loss = judged(found.ablated, labels.to(found.whole.device))
            parts.append(Outcomes(correct[0], loss[0], cut_correct.T, cut_loss.T))
        return Outcomes(
            np.concatenate([part.correct for part in parts]),
            np.concatenate([part.loss for part in parts]),
            np.concatenate([part.cut_correct for part in parts]),
            np.concatenate([part.cut_loss for part in parts]),
        )

    def stand_ins(self, which: slice) -> StandIns:
        """What is put in for these images."""
        if self.same is not None:
            return self.same
        assert self.others is not None
        return answers(self.sweep.specimen, self.others[which], self.paths)


def trial_of(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    replacement: str,
    means: Sequence[Tensor] | None = None,
    others: OtherImages | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    with_mlps: bool = False,
    mlps: Sequence[str] | None = None,
) -> Trial:
    """A trial on these images, with what is put in their parts' place made ready.

    Args:
        specimen: A model with attention.
        images: Of any number.
        labels: A class for each.
        replacement: "mean", "zero" or "another".
        means: Of heads, from `mean_head_outputs`, for "mean"; taken over `images` if None.
        others: For "another", the images whose answers are put in, one for each; drawn from `images` if None, never
            an image itself.
        seed: Of that drawing.
        batch_size: Images at once; if None, as many as keep a pass over all heads of a layer small.
        with_mlps: Whether MLPs will be replaced too.
        mlps: Their module paths, where they cannot be told apart.

    Raises:
        UnknownNameError: If there is no such replacement.
        ValueError: If labels or others do not fit the images, or there is no image.
        SelfCheckError: If the model shows no attention.
    """
    check_replacement(replacement)
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"ablation needs at least one image and a label for each, but got {len(images)} images and "
            f"{len(labels)} labels."
        )
    if others is not None and len(others) != len(images):
        raise ValueError(
            f"others must hold one image for each of the {len(images)} images, but got {len(others)}."
        )
    most = images_per_pass(specimen)
    sweep = sweep_of(specimen, images[:NUM_LOOKED_AT], max_batch=most, with_mlps=with_mlps, mlps=mlps)
    same = StandIns({}, {})
    if replacement == "mean" and means is not None:
        same = StandIns(dict(enumerate(means)), {})
    elif replacement == "mean":
        same = mean_stand_ins(specimen, images, sweep.mlps, most)
    elif replacement == "another":
        others = images[drawn_others(len(images), seed)] if others is None else others
    at_once = batch_size or max(1, most // max(sweep.heads))
    return Trial(
        sweep, images, labels, None if replacement == "another" else same, others, at_once, sweep.mlps
    )


def images_per_pass(specimen: Specimen) -> int:
    """How many examples a pass may hold, by their size and the device."""
    height, width = specimen.image_size
    return max(1, PIXELS_PER_PASS * (1 if specimen.device.type == "cpu" else 16) // (height * width))


def judged(logits: Float[Tensor, "cut batch classes"], labels: Label) -> tuple[np.ndarray, np.ndarray]:
    """Whether each is right, and its cross-entropy: `(cut, image)`."""
    right = logits.argmax(dim=-1) == labels
    log_chances = F.log_softmax(logits.float(), dim=-1)
    chosen = labels.expand(logits.shape[:-1])[..., None]
    loss = -log_chances.gather(-1, chosen)[..., 0]
    return right.double().cpu().numpy(), loss.double().cpu().numpy()


def check_classes(labels: Label, num_classes: int) -> None:
    """Refuse labels that are no classes of the model.

    Raises:
        ValueError: If one is not; says what to do without labels.
    """
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1}, the classes of the model, but got {int(labels.min())} to "
            f"{int(labels.max())}; where there are no labels, pass the model's own predictions."
        )
