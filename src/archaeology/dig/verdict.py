"""Which model is better, by how much, how sure is that, and do they fail on the same images?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import contingency

from archaeology.core.intervals import mcnemar, paired_bootstrap, wilson

LEVEL = 0.05  # of the exact test, beside a 95 % interval
FAILURES = ("none", "vit-only", "cnn-only", "both-same", "both-different")


def failure_types(
    vit_correct: Bool[np.ndarray, " image"],
    cnn_correct: Bool[np.ndarray, " image"],
    same_prediction: Bool[np.ndarray, " image"],
) -> list[str]:
    """Who fails, for every image.

    Returns:
        "none" (both right), "vit-only" (only the ViT is wrong), "cnn-only", "both-same" (both give the same wrong
        answer) or "both-different".
    """
    both_wrong = np.where(same_prediction, "both-same", "both-different")
    vit_wrong = np.where(cnn_correct, "vit-only", both_wrong)
    return np.where(vit_correct, np.where(cnn_correct, "none", "cnn-only"), vit_wrong).tolist()


def independence(
    vit_correct: Bool[np.ndarray, " image"], cnn_correct: Bool[np.ndarray, " image"]
) -> dict[str, float | int | None]:
    """Do the two fail together more often than two strangers would?

    Returns:
        Images both get wrong, observed and expected if failures were independent, and the odds ratio of failing
        together with its 95 % interval (conditional maximum likelihood, exact); None where it has no value.
    """
    table = np.array(
        [
            [int((~vit_correct & ~cnn_correct).sum()), int((~vit_correct & cnn_correct).sum())],
            [int((vit_correct & ~cnn_correct).sum()), int((vit_correct & cnn_correct).sum())],
        ]
    )
    expected = table[0].sum() * table[:, 0].sum() / table.sum()
    ratio: dict[str, float | None] = {"odds_ratio": None, "low": None, "high": None}
    if table.sum(axis=0).all() and table.sum(axis=1).all():
        fitted = contingency.odds_ratio(table)
        interval = fitted.confidence_interval(0.95)
        ratio = {"odds_ratio": fitted.statistic, "low": interval.low, "high": interval.high}
    return {"expected_both_wrong": float(expected), "observed_both_wrong": int(table[0, 0]), **ratio}


def labelled_verdict(
    vit_correct: Bool[np.ndarray, " image"],
    cnn_correct: Bool[np.ndarray, " image"],
    failures: Sequence[str],
    *,
    seed: int,
) -> dict[str, Any]:
    """Accuracies, their paired difference (ViT minus CNN), McNemar's test and failure types."""
    n = len(vit_correct)
    test = mcnemar(vit_correct, cnn_correct)
    return {
        "accuracy": {
            "vit": asdict(wilson(int(vit_correct.sum()), n)),
            "cnn": asdict(wilson(int(cnn_correct.sum()), n)),
            "difference": asdict(paired_bootstrap(vit_correct, cnn_correct, seed=seed)),
        },
        "mcnemar": {
            "only_vit_right": test.only_first,
            "only_cnn_right": test.only_second,
            "n": test.n,
            "p_value": test.p_value,
        },
        "failures": {
            **{name: int(sum(failure == name for failure in failures)) for name in FAILURES},
            "independence": independence(vit_correct, cnn_correct),
        },
    }


def unlabelled_verdict(same_prediction: Bool[np.ndarray, " image"]) -> dict[str, Any]:
    """Without labels nothing is right or wrong; how often the two agree can still be counted."""
    return {
        "accuracy": None,
        "mcnemar": None,
        "failures": None,
        "agreement": asdict(wilson(int(same_prediction.sum()), len(same_prediction))),
    }


def is_told(difference: Mapping[str, Any], test: Mapping[str, Any]) -> bool:
    """Whether one model is shown to be right more often.

    The interval of the difference must exclude zero, and the exact test, which few images need, must agree with it.

    Args:
        difference: `accuracy.difference` of `results.json`.
        test: `mcnemar` of `results.json`.
    """
    return (difference["low"] > 0 or difference["high"] < 0) and test["p_value"] < LEVEL


def choose_pairs(
    failures: Sequence[str | None], confidence: Float[np.ndarray, " image"], count: int
) -> list[int]:
    """Which images to show side by side: the surest mistakes of every failure type in turn, then successes.

    Args:
        failures: The type of each image, None without labels.
        confidence: How sure the models were (larger is surer).
        count: How many to choose.

    Returns:
        Row numbers, worst first.
    """
    order = np.argsort(-np.asarray(confidence, dtype=float), kind="stable")
    queues = [
        [int(i) for i in order if failures[i] == name]
        for name in ("both-same", "both-different", "vit-only", "cnn-only")
    ]
    chosen: list[int] = []
    share = max(
        1, count * 4 // 5
    )  # a fifth is kept for images both get right, so that a reader sees the usual case
    while len(chosen) < share and any(queues):
        chosen += [queue.pop(0) for queue in queues if queue][: share - len(chosen)]
    rest = [int(i) for i in order if failures[i] in ("none", None)]
    spread = rest[:: max(1, len(rest) // max(1, count - len(chosen)))]
    chosen += spread[: count - len(chosen)]
    left = [int(i) for i in order if int(i) not in set(chosen)]
    return chosen + left[: count - len(chosen)]
