"""What a reader should know, in words, strongest first; a sentence is only written where an interval carries it.

Strength is how far a number lies from "nothing to see", in half-widths of its interval (capped at 20), so that unlike
things can be ranked; a finding below 1 is not written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

CAP = 20.0
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One sentence or two, with where the evidence stands in the report."""

    title: str
    text: str
    evidence: str
    strength: float


def findings(results: Mapping[str, Any], heads: Sequence[Row]) -> list[dict[str, Any]]:
    """All findings that the numbers carry, strongest first.

    Args:
        results: The verdict, as in `results.json`.
        heads: The rows of `heads.parquet`.
    """
    found = [
        *accuracy_findings(results),
        *failure_findings(results),
        *depth_findings(heads),
        *ablation_findings(heads),
        *class_token_findings(heads),
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


def depth_findings(heads: Sequence[Row]) -> list[Finding]:
    """Does attention get wider or sharper with depth?"""
    found = []
    words = {
        "entropy": ("nats", "Attention spreads out with depth", "Attention sharpens with depth"),
        "distance": ("pixels", "Deeper heads look further away", "Deeper heads look closer by"),
    }
    for statistic, (unit, rising, falling) in words.items():
        layers, values = column(heads, "layer"), column(heads, statistic)
        if len(set(layers[np.isfinite(values)])) < 3:
            continue
        keep = np.isfinite(values)
        correlation, p_value = map(float, spearmanr(layers[keep], values[keep]))
        if not np.isfinite(correlation) or p_value > 0.05:
            continue
        first, last = (values[keep & (layers == layer)] for layer in (layers.min(), layers.max()))
        text = (
            f"The mean {statistic} of a head goes from {first.mean():.2f} {unit} in the first layer to "
            f"{last.mean():.2f} in the last (rank correlation with depth {correlation:+.2f} over "
            f"{keep.sum()} heads, p {p_text(p_value)})."
        )
        strength = min(CAP, abs(correlation) * np.sqrt(keep.sum()) / 1.96)
        found.append(Finding(rising if correlation > 0 else falling, text, statistic, float(strength)))
    return found


def ablation_findings(heads: Sequence[Row]) -> list[Finding]:
    """Which heads matter, and how many do not?"""
    name = "ablation_accuracy" if np.isfinite(column(heads, "ablation_accuracy")).any() else "ablation_loss"
    drops = [row for row in heads if np.isfinite(number(row.get(name)))]
    if not drops:
        return []
    what, show = ("accuracy", points) if name == "ablation_accuracy" else ("loss", "{:.3f}".format)
    sure = [row for row in drops if row[f"{name}_low"] > 0]
    top = max(drops, key=lambda row: row[name])
    n, total = int(top["ablation_n"]), len(drops)
    found = []
    if top[f"{name}_low"] > 0:
        interval = {"value": top[name], "low": top[f"{name}_low"], "high": top[f"{name}_high"]}
        verb = "costs" if what == "accuracy" else "raises the loss by"
        text = (
            f"Replacing its output by its mean {verb} {show(top[name])}"
            f"{' of accuracy' if what == 'accuracy' else ''} (95 % interval {show(interval['low'])} to "
            f"{show(interval['high'])}, n = {n:,}), the most of all {total} heads."
        )
        title = f"Head {int(top['head']) + 1} of layer {int(top['layer']) + 1} matters most"
        found.append(Finding(title, text, "ablation", distance_from(0.0, interval)))
    share = len(sure) / total
    text = (
        f"For {len(sure)} of {total} heads the interval of the {what} {'drop' if what == 'accuracy' else 'rise'} lies "
        f"above zero (n = {n:,} images); each of the other {total - len(sure)} can be replaced by its mean without a "
        "measurable loss, taken one at a time."
    )
    title = "Most heads are not missed, one at a time" if share < 0.5 else "Most heads are missed"
    found.append(Finding(title, text, "ablation", 1.0 + abs(share - 0.5) * 4))
    return found


def class_token_findings(heads: Sequence[Row]) -> list[Finding]:
    """Does some layer pour its attention into the class token?"""
    mass = column(heads, "class_token_mass")
    keep = np.isfinite(mass)
    if not keep.any():
        return []
    top = [row for row, kept in zip(heads, keep, strict=True) if kept and row["class_token_mass_low"] > 0.3]
    if not top:
        return []
    strongest = max(top, key=lambda row: row["class_token_mass"])
    text = (
        f"In {len(top)} of {keep.sum()} heads the patches put more than 30 % of their attention on the class token, at "
        f"most {percent(strongest['class_token_mass'])} (layer {int(strongest['layer']) + 1}, head "
        f"{int(strongest['head']) + 1}): it serves as a place to look at when there is nothing to see."
    )
    return [Finding("Some heads look at the class token", text, "class_token_mass", 2.0)]


def column(heads: Sequence[Row], name: str) -> np.ndarray:
    """One column of the table as floats, NaN where there is no value."""
    return np.array([number(row.get(name)) for row in heads], dtype=float)


def number(value: object) -> float:
    """A float, NaN for None."""
    return float("nan") if value is None else float(value)  # pyright: ignore[reportArgumentType]


def distance_from(nothing: float, interval: Row) -> float:
    """How many half-widths of its interval a value lies from `nothing`, on the side that faces it; at most 20."""
    near = interval["low"] if interval["value"] > nothing else interval["high"]
    half = abs(interval["value"] - near)
    gap = abs(interval["value"] - nothing)
    return min(CAP, gap / half) if half > 0 else (CAP if gap > 0 else 0.0)


def percent(share: float) -> str:
    """0.864 -> 86.4 %."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """0.075 -> 7.5 points (of a hundred)."""
    return f"{100 * share:.1f} points"


def p_text(p_value: float) -> str:
    """A p-value as people read it, with its sign of equality."""
    return f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001"
