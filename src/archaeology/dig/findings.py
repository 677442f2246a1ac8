"""What a reader should know, in words, strongest first; a sentence is only written where an interval carries it.

A finding whose strength is below 1 (`finding.py`) is not written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from archaeology.dig.finding import Finding, Row, distance_from, p_text, percent, points
from archaeology.dig.head_findings import (
    ablation_findings,
    class_token_findings,
    depth_findings,
    specialization_findings,
)
from archaeology.dig.map_findings import layer_findings, leaderboard_findings, pruning_findings
from archaeology.dig.robustness_findings import robustness_findings


def findings(
    results: Mapping[str, Any],
    heads: Sequence[Row],
    *,
    layers: Sequence[Row] = (),
    curve: Sequence[Row] = (),
    robustness: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """All findings that the numbers carry, strongest first.

    Args:
        results: The verdict, leaderboards and pruning, as in `results.json`.
        heads: The rows of `heads.parquet`.
        layers: The rows of `layers.parquet`.
        curve: The rows of `pruning.parquet`.
        robustness: The document of the survey, as in `robustness.json`.
    """
    found = [
        *accuracy_findings(results),
        *failure_findings(results),
        *depth_findings(heads),
        *ablation_findings(heads),
        *class_token_findings(heads),
        *specialization_findings(heads),
        *leaderboard_findings(results),
        *layer_findings(layers),
        *pruning_findings(results, curve),
        *robustness_findings(robustness or {}),
    ]
    return [
        asdict(finding) for finding in sorted(found, key=lambda one: -one.strength) if finding.strength >= 1
    ]


def headline(results: Mapping[str, Any]) -> str:
    """The verdict in one sentence."""
    if results["accuracy"] is None:
        agreement = results["agreement"]
        return (
            f"Without matching labels nothing can be right or wrong; the two models agree on "
            f"{percent(agreement['value'])} of {agreement['n']:,} images "
            f"({percent(agreement['low'])} to {percent(agreement['high'])})."
        )
    vit, cnn, gap = (results["accuracy"][name] for name in ("vit", "cnn", "difference"))
    better = (
        "no more often"
        if gap["low"] <= 0 <= gap["high"]
        else ("more often" if gap["value"] > 0 else "less often")
    )
    return (
        f"The ViT is right on {percent(vit['value'])} of {vit['n']:,} images, the CNN on {percent(cnn['value'])}: "
        f"the ViT is {'surely ' if better != 'no more often' else ''}right {better} "
        f"(difference {points(gap['value'])}, 95 % interval {points(gap['low'])} to {points(gap['high'])})."
    )


def accuracy_findings(results: Mapping[str, Any]) -> list[Finding]:
    """Is one model better?"""
    if results["accuracy"] is None:
        return []
    gap, test = results["accuracy"]["difference"], results["mcnemar"]
    strength = distance_from(0.0, gap)
    if strength < 1:
        text = (
            f"The difference is {points(gap['value'])} ({points(gap['low'])} to {points(gap['high'])}), which "
            f"{gap['n']:,} images cannot tell from none (McNemar p {p_text(test['p_value'])})."
        )
        return [Finding("Neither model is shown to be better", text, "verdict", 1.0)]
    better, worse = ("ViT", "CNN") if gap["value"] > 0 else ("CNN", "ViT")
    text = (
        f"It is right {points(abs(gap['value']))} more often than the {worse} on the same {gap['n']:,} images "
        f"(95 % interval of the difference {points(gap['low'])} to {points(gap['high'])}). "
        f"Only the ViT is right on {test['only_vit_right']:,}, only the CNN on {test['only_cnn_right']:,} "
        f"(McNemar p {p_text(test['p_value'])})."
    )
    return [Finding(f"The {better} is better", text, "verdict", strength)]


def failure_findings(results: Mapping[str, Any]) -> list[Finding]:
    """Do they fail on the same images?"""
    if results["failures"] is None or results["failures"]["independence"]["odds_ratio"] is None:
        return []
    together = results["failures"]["independence"]
    low, high = together["low"], together["high"]
    if not (
        np.isfinite(low) and np.isfinite(together["odds_ratio"]) and low > 0 and together["odds_ratio"] > 0
    ):
        return []
    logs = {
        "value": float(np.log(together["odds_ratio"])),
        "low": float(np.log(low)),
        "high": float(np.log(high)) if np.isfinite(high) else float("inf"),
    }
    strength = distance_from(0.0, logs)
    observed, expected = together["observed_both_wrong"], together["expected_both_wrong"]
    if strength < 1 or logs["value"] < 0:
        return []
    text = (
        f"Both are wrong on {observed:,} images; were their failures independent it would be about {expected:.0f}. "
        f"The odds of one failing are {together['odds_ratio']:.1f} times as high where the other fails (95 % interval "
        f"{low:.1f} to {high:.1f}). They give the same wrong answer on {results['failures']['both-same']:,} of them."
    )
    return [Finding("They fail on the same images", text, "failures", strength)]
