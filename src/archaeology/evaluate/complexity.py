"""Complexity: over how many places a map is spread, as the entropy of its shares; a simple map names few.

Source: `bhatt2020evaluating`. Differs: on the trial's grid, and the score is 1 - entropy / log(patches), so that higher
is simpler: 1 for a single patch, 0 for an even map.
"""

import math

import torch

from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.patches import patch_values
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("simplicity", "complexity")
def complexity(trial: Trial, explanation: Explanation) -> Marks:
    """1 - entropy of |map| as shares / log(patches); a map without evidence gets 0.

    Args:
        trial: Gives the grid.
        explanation: Signed shares count by their size.

    Raises:
        ValueError: If the explanation is of other images.
    """
    values = patch_values(trial, explanation).abs()
    values = values + (values.sum(dim=1, keepdim=True) == 0)
    share = values / values.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(share).sum(dim=1)
    return Marks(
        "complexity",
        score=1 - entropy / math.log(trial.num_patches),
        chance=None,
        parameters={},
        formula="1 - entropy of |map| / sum |map| over patches, over log(patches)",
        has_evidence=explanation.has_evidence,
        details={"nats": entropy},
    )
