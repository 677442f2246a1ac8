"""What breaks a model, and how much of it: curves, transfer, frequencies, corruptions, missing patches, texture."""

from archaeology.robustness.patch_result import PatchRobustness as PatchRobustness
from archaeology.robustness.patches import patch_robustness as patch_robustness
