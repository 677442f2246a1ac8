"""The same, finer: how much the loss rises when one head at a time is replaced by its mean."""

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
    """Rise in cross-entropy in nats; None where heads were not ablated."""
    return head_effects(run, "ablation_loss", decimals=3, test="p_corrected")


def headline(data: HeadEffects) -> str:
    """The head whose loss costs the model most of its certainty."""
    return effects_headline(data, "raises the loss", " nats")


def draw(data: HeadEffects) -> "Figure":
    """Layer by head in two colours around zero."""
    return draw_effects(data, "ablation_loss", "rise in loss (nats)")


ablation_loss = figures.register("ablation_loss")(
    Drawing(
        name="ablation_loss",
        title="Which heads does its certainty need?",
        explanation="The loss also notices when a right answer merely becomes less certain, so it sees small "
        "effects that accuracy is too coarse to show.",
        definition="Cross-entropy with the output of this one head replaced, less the cross-entropy of the "
        "whole model, in nats, over the same images. Positive: the head helps. 95 % interval from a paired "
        "bootstrap; a dot (in the table, a star) marks intervals that exclude zero; a dark dot (two "
        "stars) those heads whose sign-flip test, corrected for all heads tried, has p below 0.05.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=effects_table,
        own_answers=Wording(
            explanation="The loss also notices when the model stands by its answer but is less certain of it, so it "
            "sees effects that a count of changed answers is too coarse to show.",
            definition="Cross-entropy with the output of this one head replaced, less the cross-entropy of the whole "
            "model, in nats, over the same images; there are no labels, so both are those of the answer that the whole "
            "model gives. Positive: the head helps it. 95 % interval from a paired bootstrap; a dot (in the table, a "
            "star) marks intervals that exclude zero; a dark dot (two stars) those heads whose sign-flip test, "
            "corrected for all heads tried, has p below 0.05.",
        ),
    )
)
