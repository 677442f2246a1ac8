"""What the heads have to say: how they change with depth, which are needed, what they specialize in."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.stats import spearmanr

from archaeology.dig.finding import (
    CAP,
    HALF,
    LEVEL,
    Finding,
    Row,
    column,
    distance_from,
    interval,
    measured,
    number,
    p_of,
    p_text,
    percent,
    points,
    unanswered,
)
from archaeology.stats.labels import RULES

FEWEST_LAYERS = 3  # between which a trend with depth can be seen
SINK_SHARE = 0.3  # of attention on the class token, above which a head is said to look at it


def depth_findings(heads: Sequence[Row]) -> list[Finding]:
    """Does attention get wider or sharper with depth?"""
    found = []
    words = {
        "entropy": ("nats", "Attention spreads out with depth", "Attention sharpens with depth"),
        "distance": ("pixels", "Deeper heads look further away", "Deeper heads look closer by"),
    }
    for statistic, (unit, rising, falling) in words.items():
        layers, values = column(heads, "layer"), column(heads, statistic)
        keep = np.isfinite(values)
        if len(set(layers[keep])) < FEWEST_LAYERS:
            continue
        correlation, p_value = map(float, spearmanr(layers[keep], values[keep]))
        if not np.isfinite(correlation):
            continue
        trend, count = rank_interval(correlation, int(keep.sum())), int(keep.sum())
        first, last = (values[keep & (layers == layer)] for layer in (layers.min(), layers.max()))
        text = (
            f"The mean {statistic} of a head goes from {first.mean():.2f} {unit} in the first layer to "
            f"{last.mean():.2f} in the last (rank correlation with depth {correlation:+.2f}, 95 % interval "
            f"{trend['low']:+.2f} to {trend['high']:+.2f}, over {count} heads, p {p_text(p_value)})."
        )
        strength = min(CAP, abs(correlation) * np.sqrt(count) / HALF)
        measure = measured("rank correlation with depth", trend, "", count, "heads")
        title = rising if correlation > 0 else falling
        found.append(Finding(title, text, statistic, float(strength), p_value, measure))
    return found


def rank_interval(correlation: float, count: int) -> dict[str, float]:
    """95 % interval of Spearman's correlation by Fisher's transformation, with the variance of `bonett2000sample`."""
    held = max(-1 + 1e-12, min(1 - 1e-12, correlation))
    half = HALF * math.sqrt((1 + held**2 / 2) / (count - 3)) if count > 3 else math.inf
    middle = math.atanh(held)
    return {"value": correlation, "low": math.tanh(middle - half), "high": math.tanh(middle + half)}


def ablation_findings(heads: Sequence[Row]) -> list[Finding]:
    """Which heads matter, and how many are not shown to, corrected for as many comparisons as there are heads?"""
    drops = [row for row in heads if np.isfinite(number(row.get("ablation_loss")))]
    if not drops:
        return []
    return [_most_needed(drops), _needed(drops)]


def _most_needed(drops: Sequence[Row]) -> Finding:
    """The head whose absence costs most; whether it stands alone is said by its interval and the next one's."""
    ranked = sorted(drops, key=lambda row: -row["ablation_loss"])
    top, total = ranked[0], len(ranked)
    loss, accuracy = interval(top, "ablation_loss"), interval(top, "ablation_accuracy")
    p_value = p_of(loss, tried=total)
    if loss["low"] <= 0:
        return unanswered("ablation", p_value)
    n, leads = int(top["ablation_n"]), total == 1 or loss["low"] > number(ranked[1]["ablation_loss_high"])
    text = (
        f"Replacing its output by its mean raises the loss by {loss['value']:.3f} (95 % interval "
        f"{loss['low']:.3f} to {loss['high']:.3f}, n = {n:,}), the most of all {total} heads"
        f"{'' if leads else ', though the interval of the next one overlaps'}, and costs "
        f"{points(accuracy['value'])} of accuracy ({points(accuracy['low'])} to {points(accuracy['high'])})."
    )
    where = f"Head {int(top['head']) + 1} of layer {int(top['layer']) + 1}"
    title = f"{where} matters most" if leads else f"{where} is among the heads that matter most"
    measure = measured("rise of the loss without it", loss, "", n)
    return Finding(title, text, "ablation", distance_from(0.0, loss), p_value, measure)


def _needed(drops: Sequence[Row]) -> Finding:
    """How many heads are needed, one at a time."""
    total = len(drops)
    p_value = min(p_of(interval(row, "ablation_loss"), tried=total) for row in drops)
    counts = Counter(str(row["verdict"]) for row in drops)
    needed, harmful = counts.pop("needed", 0), counts.pop("harmful", 0)
    if needed + harmful == 0:
        return unanswered("ablation", p_value)
    rest = "; ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    text = (
        f"Taken out one at a time, {needed} of {total} heads are needed and {harmful} do harm: the loss changes "
        f"by more than chance, after correction for {total} comparisons (Holm, n = {int(drops[0]['ablation_n']):,} "
        f"images). The others: {rest or 'none'}. "
        '"Not shown to matter" may only mean too few images.'
    )
    title = f"{needed} of {total} heads are needed, one at a time"
    return Finding(title, text, "ablation", 1.0 + abs(needed / total - 0.5) * 4, p_value)


def class_token_findings(heads: Sequence[Row]) -> list[Finding]:
    """Does some layer pour its attention into the class token?"""
    kept = [row for row in heads if np.isfinite(number(row.get("class_token_mass")))]
    if not kept:
        return []
    p_values = [_above(interval(row, "class_token_mass"), SINK_SHARE, len(kept)) for row in kept]
    top = [row for row, p in zip(kept, p_values, strict=True) if p < LEVEL]
    if not top:
        return [unanswered("class_token_mass", min(p_values))]
    strongest = max(top, key=lambda row: row["class_token_mass"])
    mass = interval(strongest, "class_token_mass")
    text = (
        f"In {len(top)} of {len(kept)} heads the patches put more than {percent(SINK_SHARE)} of their attention on "
        f"the class token (corrected for {len(kept)} heads), at most {percent(mass['value'])} (95 % interval "
        f"{percent(mass['low'])} to {percent(mass['high'])}; layer {int(strongest['layer']) + 1}, head "
        f"{int(strongest['head']) + 1}): it serves as a place to look at when there is nothing to see."
    )
    measure = measured("largest share on the class token", mass, "%", int(strongest["n"]))
    return [
        Finding("Some heads look at the class token", text, "class_token_mass", 2.0, min(p_values), measure)
    ]


def _above(found: Row, threshold: float, tried: int) -> float:
    """P-value that a figure does not lie above a threshold, corrected for how many were tried."""
    return p_of(found, threshold, tried=tried) if found["value"] > threshold else 1.0


def specialization_findings(heads: Sequence[Row]) -> list[Finding]:
    """What do heads specialize in, where a rule holds beyond its corrected interval?"""
    named = [row for row in heads if row.get("label")]
    labels = Counter(str(row["label"]) for row in named)
    mixed = labels.pop("mixed", 0)
    total = len(named)
    if not total:
        return []
    p_value = min((_rule_p(row, total) for row in named if row["label"] != "mixed"), default=1.0)
    if not labels:
        return [unanswered("specialization", p_value)]
    listed = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    text = (
        f"By rules stated in advance, each with a threshold that the interval must clear (corrected for all heads and "
        f"rules), {total - mixed} of {total} heads have a trade: {listed}. The other {mixed} are mixed."
    )
    title = f"{total - mixed} of {total} heads have a trade of their own"
    return [Finding(title, text, "specialization", 1.0 + 4 * (1 - mixed / total), p_value)]


def _rule_p(row: Row, num_heads: int) -> float:
    """P-value of a head's label, for all heads and rules, from the belief in its rule (`stats/labels.py`).

    Belief c is 1/2 (1 + s / (s + h)): the figure lies s = h (2 c - 1) / (2 - 2 c) beyond the threshold, where h is the
    half-width of an interval that errs one time in twenty over all heads and rules.
    """
    tried, belief = num_heads * len(RULES), number(row.get("confidence"))
    if not math.isfinite(belief):
        return LEVEL
    if belief >= 1:
        return 0.0
    widths = (2 * belief - 1) / (2 - 2 * belief)
    normal = NormalDist()
    return min(1.0, tried * normal.cdf(-widths * normal.inv_cdf(1 - LEVEL / tried)))
