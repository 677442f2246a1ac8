"""Symmetric relevance gain: insertion less deletion, so that what a fill does to every order alike cancels.

Source: `bluecher2024decoupling`: the two curves of one order, most telling first against least telling first. Deleting
the most telling patches leaves what inserting the least telling ones has put back, so insertion - deletion is that
gain.
"""

from archaeology.evaluate.curves import area_under, curve
from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("faithfulness", "srg", counts=True)
def srg(trial: Trial, explanation: Explanation, *, fill: str = "mean", steps: int = 16) -> Marks:
    """Area of insertion less area of deletion, between -1 and 1; about 0 for a random order.

    Args:
        trial: What is judged on.
        explanation: Gives the order.
        fill: What stands where a patch is not: "mean", "blur" or "black".
        steps: Parts that the order is cut into.

    Raises:
        ValueError: If `steps` is not positive, or the explanation is of other images.
        UnknownNameError: If there is no such fill.
    """
    share, taken = curve(trial, explanation, "deletion", fill=fill, steps=steps)
    _, given = curve(trial, explanation, "insertion", fill=fill, steps=steps)
    return Marks(
        "srg",
        score=area_under(share, given) - area_under(share, taken),
        chance=None,
        parameters={"fill": fill, "steps": steps},
        formula=f"area under p(target) of insertion less that of deletion ({fill}), most telling patches first",
        has_evidence=explanation.has_evidence,
        details={"deletion": taken, "insertion": given},
    )
