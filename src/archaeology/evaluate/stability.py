"""Stability: add noise too small to change the answer; the map should hardly change either.

Source: `yeh2019sensitivity`, whose largest relative change (max-sensitivity) is given as a detail. Differs: the
score is the rank correlation of the two maps on the trial's grid, so that methods of different units compare; noise
that does change the prediction is thrown away, for then the map may change with it. A map that never changes is
perfectly stable, so stability alone never makes a winner.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.evaluate.correlation import spearman
from archaeology.evaluate.judge import Marks, judge_of, left_blank
from archaeology.evaluate.patches import patch_values
from archaeology.evaluate.trial import Trial, predicted
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import explain_images


@judge_of("robustness", "stability")
def stability(trial: Trial, explanation: Explanation, *, radius: float = 4 / 255, samples: int = 4) -> Marks:
    """Mean rank correlation of the map with those of noisy copies of its image.

    Args:
        trial: What is judged on.
        explanation: Drawn anew by its method and parameters.
        radius: Noise is even between -radius and radius, of values from 0 to 1.
        samples: Noisy copies of each image.

    Raises:
        ValueError: If `radius` or `samples` is not positive.
        UnknownNameError: If the explanation's method is not registered.
    """
    if not radius > 0 or samples < 1:
        raise ValueError(f"radius must be above 0 and samples at least 1, but got {radius=}, {samples=}.")
    values = patch_values(trial, explanation)
    noise = trial.random("noise of stability", samples, *trial.images.shape[1:]) * 2 - 1
    alike, change, kept = [], [], []
    for sample in range(samples):
        noisy = (trial.images + radius * noise[:, sample]).clamp(0, 1)
        answer = predicted(trial.specimen, noisy, trial.at_once)
        kept.append(answer.argmax(1) == trial.memo["logits"].argmax(1))
        again = explain_images(
            explanation.method, trial.specimen, noisy, trial.target, **dict(explanation.parameters)
        )
        other = patch_values(trial, again)
        alike.append(spearman(values, other))
        change.append((other - values).norm(dim=1) / values.norm(dim=1).clamp(min=1e-30))
    counted = torch.stack(kept, dim=1)
    left_out = {"noise changes the prediction": ~counted.any(dim=1)}
    return Marks(
        "stability",
        score=left_blank(_mean_where(torch.stack(alike, dim=1), counted), left_out),
        chance=None,
        parameters={"radius": radius, "samples": samples},
        formula=f"mean rank correlation with the map of the image + noise in [-{radius:.4g}, {radius:.4g}]",
        has_evidence=explanation.has_evidence,
        left_out=left_out,
        details={"max_relative_change": (torch.stack(change, dim=1) * counted).amax(dim=1)},
    )


def _mean_where(
    values: Float[Tensor, "batch sample"], counted: Bool[Tensor, "batch sample"]
) -> Float[Tensor, " batch"]:
    return (values * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
