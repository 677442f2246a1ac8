"""Would the answer be right had the model not looked there? Hide what a map says it looked at wrongly, and ask again.

Of an image named wrong, the wrongly attended region are the patches without any of the object (its box or mask) that
the map gives more than an even share. Where no object is known, they are those that the map of the other model gives at
most an even share: what only one model looks at. No more than a quarter of the patches is hidden, the most attended
ones. Hiding anything changes answers, so as many random patches are hidden too, several times; and, where the object is
known, as many random ones beside it, since hiding background may help whatever was looked at there. The same is done to
images named right: what mends wrong answers by shaking them breaks right ones as often.

An intervention like `fewest_patches` (`evaluate/counterfactuals.py`), with its fills. Differences are paired over
images; tests are sign flips (`fisher1935design`), and McNemar's (`mcnemar1947note`) against the first of the draws.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.bounded import bounded_means
from archaeology.core.intervals import Interval, mcnemar
from archaeology.core.many import sign_flip_test
from archaeology.evaluate.edited import answers, filled_with
from archaeology.evaluate.fill import fill_of
from archaeology.evaluate.trial import Trial

MOST = 0.25  # of the patches that are hidden at most
DRAWS = 5
TOUCHES = 1e-6  # share of a patch from which on it belongs to the object
FILL = "mean"


@dataclass(frozen=True, eq=False)
class Region:
    """What is to be hidden.

    Attributes:
        hidden: Which patches of each image.
        allowed: Where random patches may lie beside the object; None where no object is known.
        rule: How the region was told, in words.
    """

    hidden: Bool[Tensor, "image patch"]
    allowed: Bool[Tensor, "image patch"] | None
    rule: str


def outside_region(
    attended: Float[Tensor, "image patch"], inside: Float[Tensor, "_ _"], most: float = MOST
) -> Region:
    """Patches without any of the object that the map gives more than an even share.

    Args:
        attended: The map, >= 0.
        inside: Share of each patch that the object covers; NaN for images where it is not known, nothing is hidden.
        most: Share of the patches hidden at most, the most attended ones.

    Raises:
        ValueError: If shapes differ or `most` is not a share.
    """
    _check(attended, inside, most)
    beside = inside <= TOUCHES  # false for NaN
    return Region(
        strongest(attended, beside & above_even(attended), most),
        beside,
        f"patches without any of the object with more than an even share, {100 * most:.0f} % of all at most",
    )


def disputed_region(
    attended: Float[Tensor, "image patch"], other: Float[Tensor, "_ _"], most: float = MOST
) -> Region:
    """Patches that one map gives more than an even share and the other at most one.

    Raises:
        ValueError: As `outside_region`.
    """
    _check(attended, other, most)
    return Region(
        strongest(attended, above_even(attended) & ~above_even(other), most),
        None,
        "patches with more than an even share of this map and not of the other model's, "
        f"{100 * most:.0f} % of all at most",
    )


def above_even(values: Float[Tensor, "image patch"]) -> Bool[Tensor, "image patch"]:
    """Where a map gives more than an even share; nowhere where it is even or empty."""
    return values > values.mean(dim=1, keepdim=True) * (1 + 1e-6)


def strongest(
    values: Float[Tensor, "image patch"], among: Bool[Tensor, "image patch"], most: float
) -> Bool[Tensor, "image patch"]:
    """Those of `among` with the largest values, no more than a share `most` of all patches."""
    limit = max(1, int(most * values.shape[1]))
    place = values.masked_fill(~among, -torch.inf).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return among & (place < limit)


def random_patches(
    trial: Trial,
    count: Int[Tensor, " image"],
    draws: int,
    allowed: Bool[Tensor, "image patch"] | None = None,
) -> Bool[Tensor, "image draw patch"]:
    """So many patches of each image, drawn at random `draws` times; no more than are allowed."""
    purpose = "hidden at random" if allowed is None else "hidden at random beside the object"
    drawn = trial.random(purpose, draws, trial.num_patches)
    if allowed is not None:
        drawn = drawn.masked_fill(~allowed[:, None], 2.0)
        count = torch.minimum(count, allowed.sum(dim=1))
    return drawn.argsort(dim=2).argsort(dim=2) < count[:, None, None]


@dataclass(frozen=True)
class Hiding:
    """What hiding did to the images of one kind.

    Attributes:
        kind: "wrong" or "right": how they were named before.
        n: Images of that kind with a region to hide.
        without_region: Images of that kind without one.
        patches: Share of the patches hidden, mean over images.
        changed: Share that is right now (of the wrong), or wrong now (of the right).
        by_chance: The same with as many random patches, mean over draws.
        beside: The same with random patches beside the object; None where no object is known.
        gain: `changed` less `by_chance`, paired.
        gain_beside: `changed` less `beside`; None likewise.
        p_value: That `gain` is zero.
        p_beside: That `gain_beside` is; None likewise.
        mcnemar_p: Against the first draw alone.
    """

    kind: str
    n: int
    without_region: int
    patches: float
    changed: Interval
    by_chance: Interval
    beside: Interval | None
    gain: Interval
    gain_beside: Interval | None
    p_value: float
    p_beside: float | None
    mcnemar_p: float


@dataclass(frozen=True, eq=False)
class Mending:
    """What hiding a region did to each image.

    Attributes:
        right: Whether it was named right before.
        has_region: Whether there was something to hide.
        share: Of the patches that were hidden.
        after: Whether it is named right with the region hidden.
        by_chance: With as many random patches, draw by draw.
        beside: With random patches beside the object, draw by draw; None where no object is known.
        rule: How the region was told.
        fill: What stands there instead.
        seed: Of draws and intervals.
    """

    right: Bool[np.ndarray, " image"]
    has_region: Bool[np.ndarray, " image"]
    share: Float[np.ndarray, " image"]
    after: Bool[np.ndarray, " image"]
    by_chance: Bool[np.ndarray, "image draw"]
    beside: Bool[np.ndarray, "image draw"] | None
    rule: str
    fill: str
    seed: int

    @property
    def mended(self) -> Bool[np.ndarray, " image"]:
        """Named wrong before, right with the region hidden."""
        return ~self.right & self.has_region & self.after

    def of(self, kind: str) -> Hiding | None:
        """What it did to the images named "wrong" or "right" before; None where there is none with a region.

        Raises:
            ValueError: If `kind` is something else.
        """
        if kind not in ("wrong", "right"):
            raise ValueError(f"kind must be 'wrong' or 'right', but got {kind!r}.")
        of_kind = self.right == (kind == "right")
        rows = of_kind & self.has_region
        if not rows.any():
            return None
        wanted = kind == "wrong"  # to be right afterwards, or to be wrong
        changed = (self.after[rows] == wanted).astype(np.float64)
        draws = self.by_chance[rows] == wanted
        others = [draws.mean(axis=1)]
        others += [] if self.beside is None else [(self.beside[rows] == wanted).mean(axis=1)]
        shares = np.stack([changed, *others], axis=1)
        gaps = np.stack([changed - other for other in others], axis=1)
        found = bounded_means(shares, shares, (0.0, 1.0), seed=self.seed)
        gained = bounded_means(gaps, gaps, (-1.0, 1.0), seed=self.seed)
        p_values = sign_flip_test(gaps, seed=self.seed).tolist()
        return Hiding(
            kind=kind,
            n=int(rows.sum()),
            without_region=int((of_kind & ~self.has_region).sum()),
            patches=float(self.share[rows].mean()),
            changed=found[0],
            by_chance=found[1],
            beside=found[2] if len(found) > 2 else None,
            gain=gained[0],
            gain_beside=gained[1] if len(gained) > 1 else None,
            p_value=p_values[0],
            p_beside=p_values[1] if len(p_values) > 1 else None,
            mcnemar_p=mcnemar(changed, draws[:, 0]).p_value,
        )


@torch.no_grad()
def hide_region(
    trial: Trial,
    region: Region,
    labels: Int[Tensor, " label"],
    *,
    draws: int = DRAWS,
    fill: str = FILL,
) -> Mending:
    """Hide a region of every image, and random patches instead, and see which answers are right then.

    Args:
        trial: Images and model; its grid is that of the region.
        region: What to hide.
        labels: True classes, numbers of the model's logits.
        draws: How often random patches are drawn.
        fill: "mean" (colour of the image), "blur" or "black".

    Raises:
        UnknownNameError: If there is no such fill.
        ValueError: If region or labels do not fit the trial, or `draws` is not positive.
    """
    if region.hidden.shape != (len(trial), trial.num_patches) or len(labels) != len(trial) or draws < 1:
        raise ValueError(
            f"a region must say for each of {trial.num_patches} patches of {len(trial)} images whether to hide it, "
            f"with a label for each image and one draw or more, but got shape {tuple(region.hidden.shape)}, "
            f"{len(labels)} labels and {draws=}."
        )
    device = trial.images.device
    hidden, truth = region.hidden.to(device), labels.to(device)
    count = hidden.sum(dim=1)
    allowed = None if region.allowed is None else region.allowed.to(device)
    tried = [hidden[:, None], random_patches(trial, count, draws)]
    tried += [] if allowed is None else [random_patches(trial, count, draws, allowed)]
    edit = filled_with(fill_of(trial, fill))
    said = answers(trial, ~torch.cat(tried, dim=1), edit).argmax(dim=2) == truth[:, None]
    after = said.cpu().numpy()
    return Mending(
        right=(trial.memo["logits"].argmax(dim=1) == truth).cpu().numpy(),
        has_region=(count > 0).cpu().numpy(),
        share=(count / trial.num_patches).double().cpu().numpy(),
        after=after[:, 0],
        by_chance=after[:, 1 : 1 + draws],
        beside=None if allowed is None else after[:, 1 + draws :],
        rule=region.rule,
        fill=fill,
        seed=trial.seed,
    )


def _check(first: Float[Tensor, "_ _"], second: Float[Tensor, "_ _"], most: float) -> None:
    if first.shape != second.shape or not 0 < most <= 1:
        raise ValueError(
            f"a region is told from two maps of the same patches, and hides a share above 0 and at most 1, but got "
            f"shapes {tuple(first.shape)} and {tuple(second.shape)} and {most=}."
        )
