"""The colour-filter map: which heads decide that a circle is red enough to stay, and which only bring its colour.

Replace every head by its mean (`ablate.world_heads`) and compare what suffers: the decision which filled circles
vanish, the colour of those that stay, or the colour of the other kinds, which have no such rule.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from archaeology.ablate.head_map import Layer
from archaeology.ablate.world_heads import WorldAblation, ablate_world_heads
from archaeology.core.bootstrap import Intervals
from archaeology.data.worlds.ratio import Ratio
from archaeology.data.worlds.shapes2d import Shapes2DBatch
from archaeology.data.worlds.shapes2d_rule import FILLED_CIRCLE
from archaeology.data.worlds.shapes2d_scores import mean_inside, vanished

DECISION = ("lost", "left")


@dataclass(frozen=True, eq=False)
class ColourFilterMap:
    """By how much each error rises when a head is replaced by its mean, `(layer, head)`.

    Attributes:
        layers: Attention layers in the order of the pass.
        decision: Of 1 - balanced accuracy of vanishing: 0.5 is a coin. NaN where the rule makes no circle vanish.
        circle_colour: Of the colour error of filled circles that stay.
        other_colour: Of the colour error of the other kinds.
        ablation: What all of this comes from, with the scores of the whole model.
    """

    layers: tuple[Layer, ...]
    decision: Intervals
    circle_colour: Intervals
    other_colour: Intervals
    ablation: WorldAblation


def colour_filter_map(
    model: nn.Module, batch: Shapes2DBatch, *, batch_size: int = 100, seed: int = 0
) -> ColourFilterMap:
    """Replace every head by its mean and mark the rule and the colours apart.

    Args:
        model: Maps images to images.
        batch: Scenes it was not trained on, where the model is.
        batch_size: Scenes at once.
        seed: Of the resampling.

    Raises:
        ValueError: If there is no scene, or the model shows no attention.
    """
    ablation = ablate_world_heads(model, batch, rule_scores, batch_size=batch_size)
    return ColourFilterMap(
        layers=ablation.layers,
        decision=ablation.rise(*DECISION, seed=seed),
        circle_colour=ablation.rise("circle_colour_error", seed=seed),
        other_colour=ablation.rise("other_colour_error", seed=seed),
        ablation=ablation,
    )


def rule_scores(batch: Shapes2DBatch, prediction: Float[Tensor, "batch 3 height width"]) -> dict[str, Ratio]:
    """Errors of the rule and of the colours, apart.

    Args:
        batch: The scenes and the truth about them.
        prediction: Values from 0 to 1.

    Returns:
        "lost": of the filled circles that should stay, those that vanished. "left": of those that should vanish, those
        that did not. "circle_colour_error" and "other_colour_error": as "colour_error" of `shapes2d_scores.scores`, of
        filled circles and of all other kinds.
    """
    seen = mean_inside(batch, prediction.float())
    gone = vanished(batch, seen)
    circle = batch.kind == FILLED_CIRCLE
    stays, goes = circle & ~batch.vanishes, circle & batch.vanishes
    return {
        "lost": Ratio((gone & stays).sum(1).float(), stays.sum(1).float()),
        "left": Ratio((~gone & goes).sum(1).float(), goes.sum(1).float()),
        "circle_colour_error": _colour_error(batch, seen, stays),
        "other_colour_error": _colour_error(batch, seen, (batch.kind > FILLED_CIRCLE) & ~batch.vanishes),
    }


def _colour_error(
    batch: Shapes2DBatch, seen: Float[Tensor, "batch shape 3"], counted: Bool[Tensor, "batch shape"]
) -> Ratio:
    shown = torch.floor(batch.painted + 0.5)  # as the target has it
    off, apart = (seen * 255 - shown).abs().mean(-1), (batch.colour - shown).abs().mean(-1)
    return Ratio((off * counted).sum(1), (apart * counted).sum(1))
