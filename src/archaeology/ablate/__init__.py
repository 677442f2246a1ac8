"""Interventions: what a model loses when one of its heads says nothing."""

from archaeology.ablate.heads import ablate_heads as ablate_heads
from archaeology.ablate.means import mean_head_outputs as mean_head_outputs
from archaeology.ablate.result import HeadAblation as HeadAblation
from archaeology.ablate.result import joined as joined
