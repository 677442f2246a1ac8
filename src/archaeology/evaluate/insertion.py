"""Insertion: start from nothing and put the most telling patches back first; the sooner the class is there, the better.

Source: `petsiuk2018rise`. Differs: patches of the trial's grid instead of single pixels.
"""

from archaeology.evaluate.curves import area_under, curve
from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("faithfulness", "insertion")
def insertion(trial: Trial, explanation: Explanation, *, fill: str = "mean", steps: int = 16) -> Marks:
    """Area under the target's probability while patches come back, most telling first.

    Args:
        trial: What is judged on.
        explanation: Gives the order.
        fill: What stands where a patch is not yet: "mean", "blur" or "black".
        steps: Parts that the order is cut into.

    Raises:
        ValueError: If `steps` is not positive, or the explanation is of other images.
        UnknownNameError: If there is no such fill.
    """
    share, values = curve(trial, explanation, "insertion", fill=fill, steps=steps)
    return Marks(
        "insertion",
        score=area_under(share, values),
        chance=None,
        parameters={"fill": fill, "steps": steps},
        formula=f"area under p(target) against the share of patches put back over {fill}, most telling first",
        has_evidence=explanation.has_evidence,
        details={"probability": values},
    )
