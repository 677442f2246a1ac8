"""Deletion: take the most telling patches away first; the sooner the class is gone, the better the map.

Source: `petsiuk2018rise`. Differs: patches of the trial's grid instead of single pixels, so that maps of pixels and of
patches are asked the same; the score is 1 - area, so that higher is better.
"""

from archaeology.evaluate.curves import area_under, curve
from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("faithfulness", "deletion")
def deletion(trial: Trial, explanation: Explanation, *, fill: str = "mean", steps: int = 16) -> Marks:
    """1 - area under the target's probability while patches are taken away, most telling first.

    Args:
        trial: What is judged on.
        explanation: Gives the order.
        fill: What stands where a patch was: "mean", "blur" or "black".
        steps: Parts that the order is cut into.

    Raises:
        ValueError: If `steps` is not positive, or the explanation is of other images.
        UnknownNameError: If there is no such fill.
    """
    share, values = curve(trial, explanation, "deletion", fill=fill, steps=steps)
    return Marks(
        "deletion",
        score=1 - area_under(share, values),
        chance=None,
        parameters={"fill": fill, "steps": steps},
        formula=f"1 - area under p(target) against the share of patches removed ({fill}), most telling first",
        has_evidence=explanation.has_evidence,
        details={"probability": values},
    )
