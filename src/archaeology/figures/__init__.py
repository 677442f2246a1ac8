"""Figures of runs, of the zoo and of the worlds: each file computes its numbers, then draws them."""

from archaeology.figures import head_pattern as head_pattern
from archaeology.figures.ablation_accuracy import ablation_accuracy as ablation_accuracy
from archaeology.figures.ablation_against_entropy import ablation_against_entropy as ablation_against_entropy
from archaeology.figures.ablation_loss import ablation_loss as ablation_loss
from archaeology.figures.accuracy import accuracy as accuracy
from archaeology.figures.class_token_mass import class_token_mass as class_token_mass
from archaeology.figures.distance import distance as distance
from archaeology.figures.drawing import Drawing as Drawing
from archaeology.figures.drawing import figures as figures
from archaeology.figures.drawing import world_figures as world_figures
from archaeology.figures.drawing import zoo_figures as zoo_figures
from archaeology.figures.entropy import entropy as entropy
from archaeology.figures.failure_types import failure_types as failure_types
from archaeology.figures.files import save_figure as save_figure
from archaeology.figures.participation import participation as participation
from archaeology.figures.svg import svg_text as svg_text
from archaeology.figures.world_masks import world_masks as world_masks
from archaeology.figures.world_positions import world_positions as world_positions
from archaeology.figures.world_shapes1d import world_shapes1d as world_shapes1d
from archaeology.figures.world_shapes2d import world_shapes2d as world_shapes2d
from archaeology.figures.zoo_cost import zoo_cost as zoo_cost
from archaeology.figures.zoo_error import zoo_error as zoo_error
from archaeology.figures.zoo_patterns import zoo_patterns as zoo_patterns
