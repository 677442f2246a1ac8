"""The pointing game: does the highest place of the map lie on the object?

Source: `zhang2018top`. Differs: the highest patch of the trial's grid counts by the share of it that the object covers,
and several equally high ones share the point, so that a map without evidence, equal everywhere, gets the object's share
of the image: exactly what chance gives. No margin of pixels is forgiven.
"""

from archaeology.evaluate.judge import Marks, judge_of, left_blank
from archaeology.evaluate.mass_inside import where_judged
from archaeology.evaluate.patches import inside_of, patch_values
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("truth", "pointing_game", counts=True)
def pointing_game(trial: Trial, explanation: Explanation, *, too_large: float = 0.5) -> Marks:
    """Share of the map's highest patches that the object covers, 0 to 1; chance is the object's share of the image.

    Args:
        trial: With masks or boxes.
        explanation: Where the highest values lie.
        too_large: An object that covers this share of the image or more can hardly be missed: the image is left out,
            also because a t-test on few images takes such hits for more than luck.

    Raises:
        ValueError: If the trial knows no truth, or `too_large` is not between 0 and 1.
    """
    inside, known = inside_of(trial)
    left_out = where_judged(inside, known, too_large)
    values = patch_values(trial, explanation, signed=False)
    highest = (values == values.amax(dim=1, keepdim=True)).to(values)
    return Marks(
        "pointing_game",
        score=left_blank((highest * inside).sum(dim=1) / highest.sum(dim=1), left_out),
        chance=inside.mean(dim=1),
        parameters={"too_large": too_large},
        formula="share of the highest patch (ties shared) that the object covers; chance is its share of the image",
        has_evidence=explanation.has_evidence,
        left_out=left_out,
    )
