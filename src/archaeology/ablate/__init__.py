"""Interventions: what a model loses when one of its heads says nothing, and what its heads see in a colour."""

from archaeology.ablate.colour_filter import ColourFilterMap as ColourFilterMap
from archaeology.ablate.colour_filter import colour_filter_map as colour_filter_map
from archaeology.ablate.colour_rule import ColourRule as ColourRule
from archaeology.ablate.colour_rule import colour_rule as colour_rule
from archaeology.ablate.estimate import HeadEstimate as HeadEstimate
from archaeology.ablate.estimate import estimate_heads as estimate_heads
from archaeology.ablate.estimate import rank_agreement as rank_agreement
from archaeology.ablate.heads import ablate_heads as ablate_heads
from archaeology.ablate.layers import LayerAblation as LayerAblation
from archaeology.ablate.layers import ablate_layers as ablate_layers
from archaeology.ablate.means import mean_head_outputs as mean_head_outputs
from archaeology.ablate.pairs import PairInteractions as PairInteractions
from archaeology.ablate.pairs import pair_interactions as pair_interactions
from archaeology.ablate.patching import Patching as Patching
from archaeology.ablate.patching import patch_activations as patch_activations
from archaeology.ablate.pruning import PruningCurve as PruningCurve
from archaeology.ablate.pruning import PruningOrder as PruningOrder
from archaeology.ablate.pruning import pruning_curve as pruning_curve
from archaeology.ablate.result import HeadAblation as HeadAblation
from archaeology.ablate.result import joined as joined
from archaeology.ablate.without_heads import without_heads as without_heads
from archaeology.ablate.world_heads import WorldAblation as WorldAblation
from archaeology.ablate.world_heads import ablate_world_heads as ablate_world_heads
