"""Few heads matter: how much accuracy is lost when one head at a time is replaced by its mean.

Without labels there is no accuracy: then it is the share of images whose answer changes.
"""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._effects import (
    HeadEffects,
    draw_effects,
    effects_headline,
    effects_table,
    head_effects,
)
from archaeology.figures.drawing import Drawing, Wording, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compute(run: RunDirectory) -> HeadEffects | None:
    """Drop in accuracy in percentage points, or answers changed in percent; None where heads were not ablated."""
    return head_effects(run, "ablation_accuracy", scale=100.0, decimals=1, test="p_accuracy_corrected")


def headline(data: HeadEffects) -> str:
    """The head whose loss costs most accuracy, or changes most answers."""
    if data.has_truth:
        return effects_headline(data, "costs", " points of accuracy")
    return effects_headline(data, "changes", " % of its answers")


def draw(data: HeadEffects) -> "Figure":
    """Layer by head in two colours around zero."""
    return draw_effects(
        data, "ablation_accuracy", "accuracy lost (points)" if data.has_truth else "answers changed (%)"
    )


ablation_accuracy = figures.register("ablation_accuracy")(
    Drawing(
        name="ablation_accuracy",
        title="Which heads does the answer need?",
        explanation="A head matters if the model gets more images wrong without it; most models could do "
        "without most of their heads, taken one at a time.",
        definition="Accuracy of the whole model less its accuracy with the output of this one head "
        "replaced, in percentage points, over the same images. Positive: the head helps. 95 % interval from "
        "a paired bootstrap; a dot (in the table, a star) marks intervals that exclude zero; a dark dot (two stars) "
        "those heads whose McNemar test, corrected for all heads tried, has p below 0.05.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=effects_table,
        own_answers=Wording(
            explanation="A head matters if the model says something else without it; most models could do without most "
            "of their heads, taken one at a time.",
            definition="Share of images on which the model's answer changes when the output of this one head is "
            "replaced, in percent: there are no labels, so nothing says which answer is right. 95 % interval from a "
            "paired bootstrap; a dot (in the table, a star) marks intervals that exclude zero; a dark dot (two stars) "
            "those heads whose McNemar test, corrected for all heads tried, has p below 0.05.",
        ),
    )
)
