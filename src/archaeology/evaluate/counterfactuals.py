"""How few of the most attended patches must go until the model answers otherwise?

A method that knows what the answer hangs on flips it with few patches. For each image all prefixes of the method's
order are tried from the shortest on, and an image leaves as soon as its answer has changed, so the number found is
the smallest prefix that flips it, not one that a bisection happened to meet. An image whose answer never changes is
censored: it counts as more than all patches, never as a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.intervals import Interval, resampled_means, wilson
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import numpy_generator
from archaeology.core.shapes import Image
from archaeology.evaluate.edited import Edit, answers_of, filled_with
from archaeology.evaluate.fill import FILLS, fill_of
from archaeology.evaluate.patches import place_in_order
from archaeology.evaluate.road import imputing
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation

EDITS = (*FILLS, "inpaint", "swap")
PREFIXES = 4  # tried together before images that have flipped leave


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """The smallest prefix of a method's order that changes each answer.

    Attributes:
        method: Whose order.
        edit: What became of the patches.
        count: How many patches had to go; `num_patches + 1` where all did and the answer stayed.
        flipped: Whether it ever changed.
        answer: The new answer; the old one where it stayed.
        num_patches: How many there are.
    """

    method: str
    edit: str
    count: Int[Tensor, " batch"]
    flipped: Bool[Tensor, " batch"]
    answer: Int[Tensor, " batch"]
    num_patches: int

    @property
    def share(self) -> Float[Tensor, " batch"]:
        """Share of the patches that had to go; infinite where the answer stayed."""
        share = self.count.double() / self.num_patches
        return torch.where(self.flipped, share, torch.full_like(share, torch.inf))


@torch.no_grad()
def fewest_patches(
    trial: Trial, explanation: Explanation, *, edit: str = "mean", donors: Image | None = None
) -> Counterfactuals:
    """Remove or replace patches, most telling first, until the model's own answer changes.

    Args:
        trial: Images and model.
        explanation: Gives the order.
        edit: "mean", "blur", "black" (fills), "inpaint" (imputed from what is left) or "swap" (the same patches of
            another image).
        donors: For "swap": an image for each of the trial's, of the same size; see `donors_of`.

    Raises:
        UnknownNameError: If there is no such edit.
        ValueError: If donors are missing or do not fit, or the explanation is of other images.
    """
    change = _edit(trial, edit, donors)
    place = place_in_order(trial, explanation)
    before = trial.memo["logits"].argmax(1)
    count = torch.full_like(before, trial.num_patches + 1)
    answer = before.clone()
    standing = torch.arange(len(trial), device=before.device)
    for start in range(1, trial.num_patches + 1, PREFIXES):
        tried = torch.arange(start, min(start + PREFIXES, trial.num_patches + 1), device=before.device)
        stays = place[standing, None, :] >= tried[:, None]
        after = _answers(trial, standing, stays, change)
        differs = after != before[standing, None]
        flips = differs.any(dim=1)
        first = differs.int().argmax(dim=1)
        gone = standing[flips]
        count[gone] = tried[first[flips]]
        answer[gone] = after[flips].gather(1, first[flips, None])[:, 0]
        standing = standing[~flips]
        if not len(standing):
            break
    return Counterfactuals(
        explanation.method, edit, count, count <= trial.num_patches, answer, trial.num_patches
    )


def donors_of(trial: Trial) -> Image:
    """For each image the next one of the trial that the model answers otherwise, for `edit="swap"`.

    Raises:
        ValueError: If the model gives all images the same answer.
    """
    answer = trial.memo["logits"].argmax(1)
    if bool((answer == answer[0]).all()):
        raise ValueError(
            f"swapping needs images that the model answers differently, but all {len(trial)} are of class "
            f"{int(answer[0])}; take more images, or give donors yourself."
        )
    step = torch.arange(1, len(trial), device=answer.device)
    candidate = (torch.arange(len(trial), device=answer.device)[:, None] + step) % len(trial)
    first = (answer[candidate] != answer[:, None]).int().argmax(dim=1)
    return trial.images[candidate.gather(1, first[:, None])[:, 0]]


@dataclass(frozen=True)
class FlipStanding:
    """One method's counterfactuals over images.

    Attributes:
        median: Share of the patches that had to go in the median image, with its interval; infinite where half or
            more of the images never flip.
        mean: Mean share, an image that never flips counted as all patches and one more.
        below_floor: By how much `mean` is less than the floor's on the same images.
        flipped: Share of images that flip at all.
    """

    method: str
    edit: str
    median: Interval
    mean: Interval
    below_floor: Interval
    flipped: Interval


def compared_counterfactuals(
    found: Mapping[str, Counterfactuals], *, floor: str = "random", seed: int = 0, resamples: int = 2000
) -> tuple[FlipStanding, ...]:
    """Methods by how few patches they need, fewest first, all on the same images and against the floor.

    Args:
        found: By method, all of the same images and edit.
        floor: The method that is chance.
        seed: Of the resampling.
        resamples: How often images are drawn anew.

    Raises:
        UnknownNameError: If the floor is not among them.
        ValueError: If they are of different images or edits.
    """
    if floor not in found:
        raise unknown_name("method compared", floor, list(found))
    if len({(each.edit, each.num_patches, len(each.count)) for each in found.values()}) != 1:
        raise ValueError(
            "counterfactuals can be compared where all are of the same images, grid and edit, but they differ; find "
            "them on one trial."
        )
    count = np.stack([each.count.cpu().numpy() / each.num_patches for each in found.values()], axis=1)
    share = np.stack([each.share.cpu().numpy() for each in found.values()], axis=1)
    below = count[:, [list(found).index(floor)]] - count
    means = resampled_means(np.concatenate([count, below], axis=1), seed=seed, resamples=resamples)
    rows = numpy_generator(seed, "medians").integers(len(share), size=(resamples, len(share)))
    standings = [
        FlipStanding(
            name,
            each.edit,
            _median(share[:, row], rows),
            _mean(count[:, row], means[:, row]),
            _mean(below[:, row], means[:, len(found) + row]),
            wilson(int(each.flipped.sum()), len(each.count)),
        )
        for row, (name, each) in enumerate(found.items())
    ]
    return tuple(sorted(standings, key=lambda standing: standing.mean.value))


def _edit(trial: Trial, edit: str, donors: Image | None) -> Edit:
    if edit not in EDITS:
        raise unknown_name("edit", edit, list(EDITS))
    if edit == "inpaint":
        return imputing(trial, 0.0, tolerance=1e-6)
    if edit != "swap":
        return filled_with(fill_of(trial, edit))
    if donors is None or donors.shape != trial.images.shape:
        came = None if donors is None else tuple(donors.shape)
        raise ValueError(
            f"swapping patches needs donors of shape {tuple(trial.images.shape)}, but got {came}; use donors_of(trial)."
        )
    return filled_with(donors.to(trial.images))


def _answers(
    trial: Trial, standing: Tensor, stays: Bool[Tensor, "some prefix patch"], edit: Edit
) -> Int[Tensor, "some prefix"]:
    """The class that the model gives to every prefix of the images still standing."""
    return answers_of(trial, standing, stays, edit).argmax(dim=2)


def _median(values: Float[np.ndarray, " image"], rows: Int[np.ndarray, "resample image"]) -> Interval:
    """The lower of the two middle values, so that a median is a number that was seen, and infinite only if it is."""
    middle = (len(values) - 1) // 2
    drawn = np.sort(values[rows], axis=1)[:, middle]
    low, high = np.sort(drawn)[[round(0.025 * (len(drawn) - 1)), round(0.975 * (len(drawn) - 1))]]
    return Interval(float(np.sort(values)[middle]), float(low), float(high), len(values), "bootstrap")


def _mean(values: Float[np.ndarray, " image"], draws: Float[np.ndarray, " resample"]) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), len(values), "bootstrap")
