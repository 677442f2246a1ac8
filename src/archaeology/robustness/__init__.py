"""What breaks a model, and how much of it: curves, transfer, frequencies, corruptions, missing patches, texture."""

from archaeology.robustness.attention_shift import attention_shift as attention_shift
from archaeology.robustness.carriers import Carriers as Carriers
from archaeology.robustness.carriers import find_carriers as find_carriers
from archaeology.robustness.curve import robustness_curve as robustness_curve
from archaeology.robustness.curve import robustness_curves as robustness_curves
from archaeology.robustness.curve_result import RobustnessCurve as RobustnessCurve
from archaeology.robustness.curve_result import RobustnessCurves as RobustnessCurves
from archaeology.robustness.fooled import Fooled as Fooled
from archaeology.robustness.fooled import fooled_by as fooled_by
from archaeology.robustness.maps_under_attack import MapsUnderAttack as MapsUnderAttack
from archaeology.robustness.maps_under_attack import maps_under_attack as maps_under_attack
from archaeology.robustness.matched_noise import matched_noise as matched_noise
from archaeology.robustness.patch_result import PatchRobustness as PatchRobustness
from archaeology.robustness.patches import patch_robustness as patch_robustness
from archaeology.robustness.reattack import Reattack as Reattack
from archaeology.robustness.reattack import reattack as reattack
from archaeology.robustness.shift_result import AttentionShift as AttentionShift
