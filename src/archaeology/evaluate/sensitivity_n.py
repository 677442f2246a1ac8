"""Sensitivity-n: take n patches away at random; does the logit fall by as much as their shares add up to?

Source: `ancona2018towards`: the correlation between the sum of attributions in random subsets and the drop of the
target's logit when the subset is removed, for several n. Differs: patches of the trial's grid instead of pixels, the
image's mean colour (or another fill) instead of zero; the subsets are the same for every method.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.evaluate.correlation import pearson
from archaeology.evaluate.edited import answers, filled_with, target_logit
from archaeology.evaluate.fill import fill_of
from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.patches import patch_values
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("faithfulness", "sensitivity_n", counts=True)
def sensitivity_n(
    trial: Trial,
    explanation: Explanation,
    *,
    shares: tuple[float, ...] = (0.1, 0.25, 0.5),
    samples: int = 32,
    fill: str = "mean",
) -> Marks:
    """Mean over n of the correlation between what a subset of n patches is said to count and what it does count.

    Args:
        trial: What is judged on.
        explanation: Signed shares where it has them; a map without evidence gets 0.
        shares: n as shares of the patches.
        samples: Subsets for each n.
        fill: What stands where a patch was.

    Raises:
        ValueError: If a share is not between 0 and 1, or there are fewer than 3 samples.
        UnknownNameError: If there is no such fill.
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"shares must lie between 0 and 1, such as (0.1, 0.5), but got {shares=}.")
    if samples < 3:
        raise ValueError(f"samples must be at least 3, or nothing can correlate, but got {samples=}.")
    values = patch_values(trial, explanation)
    found = []
    for share in shares:
        count = min(max(round(share * trial.num_patches), 1), trial.num_patches - 1)
        removed, drop = _drops(trial, count, samples, fill)
        found.append(pearson((values[:, None] * removed).sum(dim=2), drop))
    by_share = torch.stack(found, dim=1)
    return Marks(
        "sensitivity_n",
        score=by_share.mean(dim=1),
        chance=torch.zeros_like(by_share[:, 0]),
        parameters={"shares": shares, "samples": samples, "fill": fill},
        formula=f"mean over n of corr(sum of the map in n random patches, drop of the target's logit, {fill})",
        has_evidence=explanation.has_evidence,
        details={"correlation": by_share},
    )


def _drops(
    trial: Trial, count: int, samples: int, fill: str
) -> tuple[Bool[Tensor, "batch sample patch"], Float[Tensor, "batch sample"]]:
    """Random subsets of `count` patches, and how far the target's logit falls without each; shared by all methods."""
    key = ("sensitivity_n", count, samples, fill)
    if key not in trial.memo:
        drawn = trial.random(f"subsets of {count}", samples, trial.num_patches)
        removed = drawn.argsort(dim=2).argsort(dim=2) < count
        logits = answers(trial, ~removed, filled_with(fill_of(trial, fill)))
        whole = trial.memo["logits"].to(logits)[:, None]
        trial.memo[key] = removed, target_logit(trial, whole) - target_logit(trial, logits)
    return trial.memo[key]
