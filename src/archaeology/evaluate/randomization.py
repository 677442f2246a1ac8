"""The randomization check: destroy the model, and the map must change; one that stays was never about the model.

Source: `adebayo2018sanity`: cascading randomization from the head down (`cascade.py`), Spearman's rank correlation of
the map with the original's at each stage. Signed shares where the method has them. A method whose map is still alike
when nothing of the model is left fails, whatever its other marks.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.core.intervals import Interval, bootstrap_mean
from archaeology.evaluate.cascade import cascade, stages_of
from archaeology.evaluate.correlation import spearman
from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.patches import patch_values
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import explain_images

ALIKE = 0.2  # a mean rank correlation above this, with its whole interval, is a map that stays alike


@dataclass(frozen=True)
class Sanity:
    """Whether a method's map depends on what the model has learnt.

    Attributes:
        alike: Mean rank correlation with the map of the wholly randomized model, with its interval.
        verdict: "fails" if the interval lies above `limit`, "passes" if below, else, and on a single image, whose
            interval has no width, "undecided".
        limit: From which on maps count as alike.
    """

    alike: Interval
    verdict: Literal["passes", "fails", "undecided"]
    limit: float = ALIKE


@judge_of("sanity", "randomization")
def randomization(
    trial: Trial, explanation: Explanation, *, only_whole: bool = False, seed: int = 0
) -> Marks:
    """1 - rank correlation of the map with that of the wholly randomized model; 1 is what unrelated maps get.

    Args:
        trial: What is judged on.
        explanation: Drawn anew by its method and parameters, for the same class.
        only_whole: Draw no maps at the stages in between, which takes one explanation instead of one for each.
        seed: Of the shuffling.

    Returns:
        NaN where the map, or the one of the randomized model, has no evidence and so no order that could be alike; else
        marks whose detail `correlation` has one column for each stage, head first; `stages_of(model)` names them.

    Raises:
        ValueError: If the model has no parameters.
        UnknownNameError: If the explanation's method is not registered.
    """
    values = patch_values(trial, explanation)
    last = stages_of(trial.specimen.model)[-1]
    found = []
    for stage, lost in cascade(trial.specimen, seed=seed):
        if only_whole and stage != last:
            continue
        again = explain_images(
            explanation.method, lost, trial.images, trial.target, **dict(explanation.parameters)
        )
        alike = spearman(values, patch_values(trial, again))
        both = (explanation.has_evidence & again.has_evidence).to(alike.device)
        found.append(alike.where(both, torch.nan))
    correlation = torch.stack(found, dim=1)
    return Marks(
        "randomization",
        score=1 - correlation[:, -1],
        chance=torch.ones_like(correlation[:, -1]),
        parameters={"only_whole": only_whole, "seed": seed},
        formula="1 - rank correlation of the map with that of the model whose weights are all shuffled",
        has_evidence=explanation.has_evidence,
        details={"correlation": correlation},
    )


def sanity_of(score: Float[Tensor, " image"], *, limit: float = ALIKE, seed: int = 0) -> Sanity:
    """The verdict over the images of a randomization check.

    Args:
        score: Of `randomization`, all images together; those without a mark (NaN) do not count.
        limit: Rank correlation from which on maps count as alike.
        seed: Of the resampling.

    Raises:
        ValueError: If no image has a mark.
    """
    found = (1 - score[score.isfinite()]).double().cpu().numpy()
    if not len(found):
        raise ValueError(
            "a verdict needs at least one image with a mark, but got none; judge some images first."
        )
    alike = bootstrap_mean(found, seed=seed)
    verdict = "fails" if alike.low > limit else "passes" if alike.high < limit else "undecided"
    verdict = "undecided" if len(found) < 2 else verdict
    return Sanity(alike, verdict, limit)
