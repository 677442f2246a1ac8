"""Mass inside: how much of the map lies on the object, over what an even map would put there.

A share of energy inside the box, as in `wang2020score`. Differs: divided by the object's share of the image, so that
1 is chance whatever the object's size, and 2 means twice the density of an even map.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.evaluate.judge import Marks, judge_of, left_blank
from archaeology.evaluate.patches import inside_of, patch_values
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("truth", "mass_inside", counts=True)
def mass_inside(trial: Trial, explanation: Explanation, *, too_large: float = 0.5) -> Marks:
    """Share of the map on the object over the object's share of the image; 1 is chance.

    Args:
        trial: With masks or boxes.
        explanation: Its heat map; one without evidence counts as even.
        too_large: An object that covers this share of the image or more can hardly be missed: the image is left out,
            also because a t-test on few images takes such hits for more than luck.

    Raises:
        ValueError: If the trial knows no truth, or `too_large` is not between 0 and 1.
    """
    inside, known = inside_of(trial)
    left_out = where_judged(inside, known, too_large)
    values = patch_values(trial, explanation, signed=False)
    values = values + (values.sum(dim=1, keepdim=True) == 0)
    area = inside.mean(dim=1)
    share = (values * inside).sum(dim=1) / values.sum(dim=1)
    score = left_blank(share / area.clamp(min=1e-12), left_out)
    return Marks(
        "mass_inside",
        score=score,
        chance=score * 0 + 1,
        parameters={"too_large": too_large},
        formula="sum of the map on the object / sum of the map, over the object's share of the image",
        has_evidence=explanation.has_evidence,
        left_out=left_out,
        details={"share": share, "area": area},
    )


def where_judged(
    inside: Float[Tensor, "batch patch"], known: Bool[Tensor, " batch"], too_large: float
) -> dict[str, Bool[Tensor, " batch"]]:
    """Why images say nothing about a map: nobody knows where the object is, or it is (almost) everywhere.

    Raises:
        ValueError: If `too_large` is not between 0 and 1.
    """
    if not 0 < too_large <= 1:
        raise ValueError(f"too_large must be a share above 0 and at most 1, but got {too_large=}.")
    area = inside.mean(dim=1)
    return {
        "no box or mask": ~known | (area <= 0),
        f"object covers {too_large:.0%} or more": known & (area >= too_large),
    }
