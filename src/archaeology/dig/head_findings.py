"""What the heads have to say: how they change with depth, which are needed, what they specialize in."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from archaeology.dig.finding import CAP, Finding, Row, column, distance_from, number, p_text, percent, points

ENDS = (("value", ""), ("low", "_low"), ("high", "_high"))


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
    """Which heads matter, and how many are not shown to, corrected for as many comparisons as there are heads?"""
    drops = [row for row in heads if np.isfinite(number(row.get("ablation_loss")))]
    if not drops:
        return []
    found = []
    top = max(drops, key=lambda row: row["ablation_loss"])
    n, total = int(top["ablation_n"]), len(drops)
    if top["ablation_loss_low"] > 0:
        loss = {name: top[f"ablation_loss{ending}"] for name, ending in ENDS}
        accuracy = {name: top[f"ablation_accuracy{ending}"] for name, ending in ENDS}
        text = (
            f"Replacing its output by its mean raises the loss by {loss['value']:.3f} (95 % interval "
            f"{loss['low']:.3f} to {loss['high']:.3f}, n = {n:,}), the most of all {total} heads, and costs "
            f"{points(accuracy['value'])} of accuracy ({points(accuracy['low'])} to {points(accuracy['high'])})."
        )
        title = f"Head {int(top['head']) + 1} of layer {int(top['layer']) + 1} matters most"
        found.append(Finding(title, text, "ablation", distance_from(0.0, loss)))
    counts = Counter(str(row["verdict"]) for row in drops)
    needed, harmful = counts.pop("needed", 0), counts.pop("harmful", 0)
    rest = "; ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    share = needed / total
    text = (
        f"Taken out one at a time, {needed} of {total} heads are needed and {harmful} do harm: the loss changes "
        f"by more than chance, after correction for {total} comparisons (Holm, n = {n:,} images). The others: "
        f"{rest or 'none'}. "
        '"Not shown to matter" may only mean too few images.'
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


def specialization_findings(heads: Sequence[Row]) -> list[Finding]:
    """What do heads specialize in, where a rule surely holds?"""
    labels = Counter(str(row["label"]) for row in heads if row.get("label"))
    mixed = labels.pop("mixed", 0)
    total = mixed + sum(labels.values())
    if not labels:
        return []
    listed = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    share = 1 - mixed / total
    text = (
        f"By rules stated in advance, each with a threshold that the interval must clear (corrected for all heads and "
        f"rules), {total - mixed} of {total} heads have a trade: {listed}. The other {mixed} are mixed."
    )
    title = f"{total - mixed} of {total} heads have a trade of their own"
    return [Finding(title, text, "specialization", 1.0 + 4 * share)]
