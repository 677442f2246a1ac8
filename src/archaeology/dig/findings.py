"""What a reader should know, in words, strongest first; a sentence is only written where an interval carries it.

Every question that the run could answer counts, also those without an answer: a sentence is written where its p-value
stays below 0.05 after Holm's correction for all of them, so that, at 95 %, no sentence of a report is owed to chance.
A finding whose strength is below 1 (`finding.py`) is not written either.

Source: `holm1979simple`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from archaeology.core.names import plural
from archaeology.dig.causes_findings import causes_findings
from archaeology.dig.dissection_findings import dissection_findings
from archaeology.dig.finding import (
    Finding,
    Row,
    answered,
    distance_from,
    measured,
    p_of,
    p_text,
    percent,
    points,
    turned,
    unanswered,
)
from archaeology.dig.head_findings import (
    ablation_findings,
    class_token_findings,
    depth_findings,
    specialization_findings,
)
from archaeology.dig.map_findings import layer_findings, leaderboard_findings, pruning_findings
from archaeology.dig.representation_findings import representation_findings
from archaeology.dig.robustness_findings import robustness_findings
from archaeology.dig.verdict import is_told


def findings(
    results: Mapping[str, Any],
    heads: Sequence[Row],
    *,
    layers: Sequence[Row] = (),
    curve: Sequence[Row] = (),
    robustness: Mapping[str, Any] | None = None,
    causes: Mapping[str, Any] | None = None,
    representation: Mapping[str, Any] | None = None,
    dissection: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """All findings that the numbers carry, strongest first.

    Args:
        results: The verdict, leaderboards and pruning, as in `results.json`.
        heads: The rows of `heads.parquet`.
        layers: The rows of `layers.parquet`.
        curve: The rows of `pruning.parquet`.
        robustness: The document of the survey, as in `robustness.json`.
        causes: What failures have in common, as in `causes.json`.
        representation: The document of the layers, as in `representation.json`.
        dissection: What became of taking failures apart, as in `dissection.json`.
    """
    asked = questions(
        results,
        heads,
        layers=layers,
        curve=curve,
        robustness=robustness,
        causes=causes,
        representation=representation,
        dissection=dissection,
    )
    return found_among(asked)


def found_among(asked: Sequence[Finding]) -> list[dict[str, Any]]:
    """What `results.json` says of the questions that have an answer."""
    return [asdict(finding) for finding in answered(asked)]


def questions(
    results: Mapping[str, Any],
    heads: Sequence[Row],
    *,
    layers: Sequence[Row] = (),
    curve: Sequence[Row] = (),
    robustness: Mapping[str, Any] | None = None,
    causes: Mapping[str, Any] | None = None,
    representation: Mapping[str, Any] | None = None,
    dissection: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Everything that was asked of the numbers, answered or not; the arguments are those of `findings`."""
    return [
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
        *causes_findings(causes or {}),
        *representation_findings(representation or {}),
        *dissection_findings(dissection or {}),
    ]


def headline(results: Mapping[str, Any]) -> str:
    """The verdict in one sentence."""
    if results["accuracy"] is None:
        agreement = results["agreement"]
        return (
            f"Without matching labels nothing can be right or wrong; the two models agree on "
            f"{percent(agreement['value'])} of {plural(agreement['n'], 'image')} "
            f"({percent(agreement['low'])} to {percent(agreement['high'])})."
        )
    vit, cnn, gap = (results["accuracy"][name] for name in ("vit", "cnn", "difference"))
    side = ("more" if gap["value"] > 0 else "less") if is_told(gap, results["mcnemar"]) else ""
    said = f"the ViT is right {side} often" if side else "neither is shown to be right more often"
    return (
        f"The ViT is right on {percent(vit['value'])} of {plural(vit['n'], 'image')}, the CNN on "
        f"{percent(cnn['value'])}: "
        f"{said} (difference {points(gap['value'])}, 95 % interval {points(gap['low'])} to {points(gap['high'])})."
    )


def accuracy_findings(results: Mapping[str, Any]) -> list[Finding]:
    """Is one model better?"""
    if results["accuracy"] is None:
        return []
    gap, test = results["accuracy"]["difference"], results["mcnemar"]
    strength, p_value = distance_from(0.0, gap), float(test["p_value"])
    if strength < 1:
        return [unanswered("verdict", p_value)]
    better, worse = ("ViT", "CNN") if gap["value"] > 0 else ("CNN", "ViT")
    lead = gap if gap["value"] > 0 else turned(gap)
    text = (
        f"It is right {points(lead['value'])} more often than the {worse} on the same {plural(gap['n'], 'image')} "
        f"(95 % interval {points(lead['low'])} to {points(lead['high'])}). "
        f"Only the ViT is right on {test['only_vit_right']:,}, only the CNN on {test['only_cnn_right']:,} "
        f"(McNemar p {p_text(p_value)})."
    )
    measure = measured(f"lead over the {worse}", lead, "points", gap["n"])
    return [Finding(f"The {better} is right more often", text, "verdict", strength, p_value, measure)]


def failure_findings(results: Mapping[str, Any]) -> list[Finding]:
    """Do they fail on the same images?"""
    if results["failures"] is None or results["failures"]["independence"]["odds_ratio"] is None:
        return []
    together = results["failures"]["independence"]
    odds, low, high = together["odds_ratio"], together["low"], together["high"]
    if low is None or not (np.isfinite(low) and np.isfinite(odds) and low > 0 and odds > 0):
        return []
    high = float("inf") if high is None else float(high)
    logs = {"value": float(np.log(odds)), "low": float(np.log(low)), "high": float(np.log(high))}
    strength, p_value = distance_from(0.0, logs), p_of(logs)
    observed, expected = together["observed_both_wrong"], together["expected_both_wrong"]
    if strength < 1 or logs["value"] < 0:
        return [unanswered("failures", p_value)]
    text = (
        f"Both are wrong on {plural(observed, 'image')}; were their failures independent it would be about "
        f"{expected:.0f}. "
        f"The odds of one failing are {odds:.1f} times as high where the other fails (95 % interval "
        f"{low:.1f} to {high:.1f}). They give the same wrong answer on {results['failures']['both-same']:,} of them."
    )
    measure = measured(
        "odds of failing together", {"value": odds, "low": low, "high": high}, "times", results["n"]
    )
    return [Finding("They fail on the same images", text, "failures", strength, p_value, measure)]
