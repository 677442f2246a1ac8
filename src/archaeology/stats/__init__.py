"""Numbers about attention heads: pure functions of patterns, and a survey in constant memory."""

from archaeology.stats.aligned_heads import LayerAlignment as LayerAlignment
from archaeology.stats.aligned_heads import align_heads as align_heads
from archaeology.stats.alignment import GroupAlignment as GroupAlignment
from archaeology.stats.alignment import group_alignment as group_alignment
from archaeology.stats.class_token_mass import token_mass as token_mass
from archaeology.stats.columns import Columns as Columns
from archaeology.stats.columns import ColumnStatistic as ColumnStatistic
from archaeology.stats.columns import column_statistics as column_statistics
from archaeology.stats.diagonal_mass import diagonal_mass as diagonal_mass
from archaeology.stats.distance import attention_distance as attention_distance
from archaeology.stats.distance import patch_distances as patch_distances
from archaeology.stats.entropy import entropy as entropy
from archaeology.stats.neighbour_mass import neighbour_mass as neighbour_mass
from archaeology.stats.neighbour_mass import patch_neighbours as patch_neighbours
from archaeology.stats.rows import Rows as Rows
from archaeology.stats.rows import Statistic as Statistic
from archaeology.stats.rows import statistics as statistics
from archaeology.stats.sink_mass import sink_mass as sink_mass
from archaeology.stats.sparsity import gini as gini
from archaeology.stats.sparsity import largest_weight as largest_weight
from archaeology.stats.sparsity import participation as participation
from archaeology.stats.sums import HeadSums as HeadSums
from archaeology.stats.survey import HeadSurvey as HeadSurvey
from archaeology.stats.survey import sum_heads as sum_heads
from archaeology.stats.survey import survey_heads as survey_heads
