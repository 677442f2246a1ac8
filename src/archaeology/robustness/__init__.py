"""What breaks a model, and how much of it: curves, transfer, frequencies, corruptions, missing patches, texture."""

from archaeology.robustness.attention_shift import attention_shift as attention_shift
from archaeology.robustness.fooled import Fooled as Fooled
from archaeology.robustness.fooled import fooled_by as fooled_by
from archaeology.robustness.maps_under_attack import MapsUnderAttack as MapsUnderAttack
from archaeology.robustness.maps_under_attack import maps_under_attack as maps_under_attack
from archaeology.robustness.matched_noise import matched_noise as matched_noise
from archaeology.robustness.patch_result import PatchRobustness as PatchRobustness
from archaeology.robustness.patches import patch_robustness as patch_robustness
from archaeology.robustness.shift_result import AttentionShift as AttentionShift
