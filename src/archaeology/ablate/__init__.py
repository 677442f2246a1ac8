"""Interventions: what a model loses when one of its heads says nothing, and what its heads see in a colour."""

from archaeology.ablate.colour_filter import ColourFilterMap as ColourFilterMap
from archaeology.ablate.colour_filter import colour_filter_map as colour_filter_map
from archaeology.ablate.colour_rule import ColourRule as ColourRule
from archaeology.ablate.colour_rule import colour_rule as colour_rule
from archaeology.ablate.heads import ablate_heads as ablate_heads
from archaeology.ablate.means import mean_head_outputs as mean_head_outputs
from archaeology.ablate.result import HeadAblation as HeadAblation
from archaeology.ablate.result import joined as joined
from archaeology.ablate.world_heads import WorldAblation as WorldAblation
from archaeology.ablate.world_heads import ablate_world_heads as ablate_world_heads
