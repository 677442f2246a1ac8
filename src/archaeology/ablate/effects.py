"""What is said of many removed parts at once: by how much, how surely, and in one word.

"Not shown to matter" and "useless within 0.1 points" are two things: the first may only mean too few images.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from archaeology.core.intervals import bootstrap_means, mcnemar
from archaeology.core.many import corrected, paired_share, sign_flip_test

DELTA = 0.001


@dataclass(frozen=True)
class Rule:
    """How effects are judged.

    Attributes:
        correction: For many comparisons: "holm" or "benjamini-hochberg".
        level: Corrected p-values below it count.
        delta: Accuracy that may be lost or won by what is called useless; 0.001 is 0.1 points.
        seed: Of resampling and of sign flips.
    """

    correction: str = "holm"
    level: float = 0.05
    delta: float = DELTA
    seed: int = 0


def effect_rows(
    correct: Float[np.ndarray, " image"],
    loss: Float[np.ndarray, " image"],
    cut_correct: Float[np.ndarray, "image part"],
    cut_loss: Float[np.ndarray, "image part"],
    rule: Rule,
) -> list[dict[str, object]]:
    """One row for each part taken out.

    Keys: `ablation_accuracy` (drop of accuracy: positive where the part matters) and `ablation_loss` (rise of the
    loss, nats), each with `_low` and `_high`, 95 % bootstrapped over images, paired; `n`.
    `p`: sign-flip test that the loss does not change; `p_accuracy`: McNemar's that the accuracy does not; both with
    `_corrected`. `matters`: `p_corrected` is below the level. `equivalent`: the interval of the accuracy lost (see
    `core.many.paired_share`) lies within plus and minus delta. `verdict`: "needed" or "harmful" where it matters, by
    the sign of the loss's rise; else "useless within 0.1 points" where equivalent; else "not shown to matter".
    """
    drop, rise = correct[:, None] - cut_correct, cut_loss - loss[:, None]
    parts = drop.shape[1]
    intervals = bootstrap_means(np.concatenate([drop, rise], axis=1), seed=rule.seed)
    p = sign_flip_test(rise, seed=rule.seed)
    p_corrected = corrected(p, rule.correction)
    p_accuracy = np.array([mcnemar(correct, column).p_value for column in cut_correct.T])
    p_accuracy_corrected = corrected(p_accuracy, rule.correction)
    rows: list[dict[str, object]] = []
    for part in range(parts):
        accuracy, cost = intervals[part], intervals[parts + part]
        within = paired_share(correct, cut_correct[:, part])
        matters = bool(p_corrected[part] < rule.level)
        equivalent = bool(within.low >= -rule.delta and within.high <= rule.delta)
        rows.append(
            {
                "ablation_accuracy": accuracy.value,
                "ablation_accuracy_low": accuracy.low,
                "ablation_accuracy_high": accuracy.high,
                "ablation_loss": cost.value,
                "ablation_loss_low": cost.low,
                "ablation_loss_high": cost.high,
                "n": accuracy.n,
                "p": float(p[part]),
                "p_corrected": float(p_corrected[part]),
                "p_accuracy": float(p_accuracy[part]),
                "p_accuracy_corrected": float(p_accuracy_corrected[part]),
                "matters": matters,
                "equivalent": equivalent,
                "verdict": _verdict(matters, equivalent, cost.value, rule.delta),
            }
        )
    return rows


def _verdict(matters: bool, equivalent: bool, rise: float, delta: float) -> str:
    if matters:
        return "needed" if rise > 0 else "harmful"
    return f"useless within {100 * delta:g} points" if equivalent else "not shown to matter"
