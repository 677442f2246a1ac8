"""Sparseness: how unevenly a map is spread over the patches, as the Gini index of its sizes.

Source: `chalasani2020concise`. Differs: on the trial's grid.
"""

import torch

from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.patches import patch_values
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("simplicity", "sparseness")
def sparseness(trial: Trial, explanation: Explanation) -> Marks:
    """Gini index of |map|: 0 for an even map, 1 - 1/patches for a single patch; a map without evidence gets 0.

    Args:
        trial: Gives the grid.
        explanation: Signed shares count by their size.

    Raises:
        ValueError: If the explanation is of other images.
    """
    values = patch_values(trial, explanation).abs().sort(dim=1).values
    values = values + (values.sum(dim=1, keepdim=True) == 0)
    count = trial.num_patches
    place = torch.arange(1, count + 1).to(values)
    return Marks(
        "sparseness",
        score=(values * (2 * place - count - 1)).sum(dim=1) / (count * values.sum(dim=1)),
        chance=None,
        parameters={},
        formula="Gini index of |map| over patches",
        has_evidence=explanation.has_evidence,
    )
