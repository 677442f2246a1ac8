"""ROAD: remove patches without leaving a trace of where they were; the answer should fall for telling ones only.

Source: `rong2022consistent`, removal by noisy linear imputation (`imputation.py`), most and least telling patches
first. Differs: patches of the trial's grid; the score is the target's probability without the least telling patches
less that without the most telling ones, so that it is higher for better maps and about 0 for a random order.
"""

import torch

from archaeology.core.shapes import Image
from archaeology.evaluate.edited import Edit, answers, probability
from archaeology.evaluate.imputation import imputed
from archaeology.evaluate.judge import Marks, judge_of
from archaeology.evaluate.patches import counts_of, place_in_order
from archaeology.evaluate.trial import Trial
from archaeology.explain.explanation import Explanation


@judge_of("faithfulness", "road", counts=True)
def road(
    trial: Trial,
    explanation: Explanation,
    *,
    shares: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8),
    noise: float = 0.01,
) -> Marks:
    """Mean over shares of p(target) without the least telling patches less p(target) without the most telling ones.

    Args:
        trial: What is judged on.
        explanation: Gives the order.
        shares: Shares of the patches that are removed.
        noise: Standard deviation of what is added to imputed pixels, of values from 0 to 1.

    Raises:
        ValueError: If a share is not between 0 and 1, or `noise` is negative.
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"shares must lie between 0 and 1, such as (0.2, 0.8), but got {shares=}.")
    if noise < 0:
        raise ValueError(f"noise must not be negative, but got {noise=}.")
    place = place_in_order(trial, explanation)
    counts = counts_of(torch.tensor(shares, dtype=torch.float64), trial.num_patches).to(place)
    counts = counts[(counts > 0) & (counts < trial.num_patches)]
    most = place[:, None, :] >= counts[:, None]
    least = place[:, None, :] < trial.num_patches - counts[:, None]
    values = probability(trial, answers(trial, torch.cat([most, least], dim=1), imputing(trial, noise)))
    without_most, without_least = values.chunk(2, dim=1)
    return Marks(
        "road",
        score=(without_least - without_most).mean(dim=1),
        chance=None,
        parameters={"shares": shares, "noise": noise},
        formula="mean over shares removed by noisy linear imputation of p(target), least telling first less most",
        has_evidence=explanation.has_evidence,
        details={"without_most": without_most, "without_least": without_least},
    )


def imputing(trial: Trial, noise: float, *, tolerance: float = 1e-4) -> Edit:
    """Impute what does not stay to this tolerance, with noise drawn once for each image."""
    key = ("noise of imputation", noise)
    if key not in trial.memo:
        uniform = trial.random("noise of imputation", *trial.images.shape[1:]).clamp(1e-6, 1 - 1e-6)
        trial.memo[key] = noise * 2**0.5 * torch.erfinv(2 * uniform - 1)
    drawn: Image = trial.memo[key]

    def edit(images: Image, stays: torch.Tensor, number: torch.Tensor) -> Image:
        found = imputed(images, stays, tolerance=tolerance) + drawn[number] * ~stays[:, None]
        return found.clamp(0, 1)

    return edit
