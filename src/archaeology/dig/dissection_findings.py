"""What is said of failures: surer than right, worst slices, attention on failures, what mends an answer.

Each is one question with its p-value, answered or not. The worst of several slices is asked with the p-value that was
corrected among them; mending counts as a claim only where hiding the region mends more than hiding random patches, and,
where the object is known, more than random patches beside it.
"""

from collections.abc import Mapping
from typing import Any

from archaeology.core.names import short_name
from archaeology.dig.finding import (
    Finding,
    Row,
    distance_from,
    measured,
    number,
    percent,
    points,
    turned,
    unanswered,
)
from archaeology.robustness.sureness import sure_side

FIGURES = {
    "calibration": "reliability",
    "slices": "slices",
    "attention": "failure_attention",
    "mending": "mending",
}
GAPS = {  # name: title where failures have more, where less, what it is, unit
    "entropy": (
        "looks more widely",
        "looks more narrowly",
        "the readout's entropy in the last layer",
        "nats",
    ),
    "distance": ("looks farther", "looks less far", "the distance of attention in the last layer", "pixels"),
    "object_mass": (
        "looks at the object more",
        "looks at the object less",
        "the readout's attention on the object in the last layer, in even shares,",
        "",
    ),
    "rollout_mass": (
        "follows the object more by rollout",
        "follows the object less by rollout",
        "rollout on the object, in even shares,",
        "",
    ),
}


def dissection_findings(document: Mapping[str, Any]) -> list[Finding]:
    """All that was asked of failures, answered or not; what too few images could answer counts with a p-value of 1."""
    names = document.get("roles") or {}
    classes = document.get("classes_named") or []
    found = [
        _overconfidence(names[role], one)
        if "overconfidence" in one
        else unanswered(FIGURES["calibration"], 1.0)
        for role, one in (document.get("calibration") or {}).items()
    ]
    for role, one in (document.get("slices") or {}).items():
        worst = _slice(names[role], one["slices"][0], classes) if one["slices"] else None
        found.append(worst or unanswered(FIGURES["slices"], 1.0))
    attention = document.get("attention") or {}
    found += [_gap(names["vit"], one) for one in attention.get("gaps", ())]
    found += [unanswered(FIGURES["attention"], 1.0) for _ in attention.get("missing", ())]
    for role, one in (document.get("mending") or {}).items():
        mended = _mended(names[role], one["wrong"], one) if one["wrong"] else None
        found.append(mended or unanswered(FIGURES["mending"], 1.0))
    return found


def _overconfidence(name: str, found: Row) -> Finding:
    gap, n, p_value = found["overconfidence"], int(found["n"]), number(found["overconfidence"]["p_value"])
    side = sure_side(gap["low"], gap["high"], n)
    if not side:
        return unanswered(FIGURES["calibration"], p_value)
    lead = gap if side > 0 else turned(gap)
    more = "surer than it is right" if side > 0 else "right more often than it is sure"
    text = (
        f"Its answers have a probability of {percent(found['confidence'])} on average, and "
        f"{percent(found['accuracy']['value'])} of {n:,} are right: {points(lead['value'])} apart (95 % interval "
        f"{points(lead['low'])} to {points(lead['high'])}). Its calibration error is {percent(found['ece'])}, where a "
        f"model that is right as often as it says has up to {percent(found['chance']['high'])} by chance."
    )
    cooled = found["temperature"]
    if "missing" not in cooled:
        text += (
            f" Dividing its logits by {cooled['value']:.2f}, fitted on half of the images, takes the error on the "
            f"other half from {percent(cooled['ece_before'])} to {percent(cooled['ece_after'])}."
        )
    measure = measured(
        "confidence less accuracy" if side > 0 else "accuracy less confidence", lead, "points", n
    )
    return Finding(
        f"{short_name(name)} is {more}",
        text,
        FIGURES["calibration"],
        distance_from(0.0, lead),
        p_value,
        measure,
    )


def _slice(name: str, worst: Row, classes: list[str]) -> Finding:
    gap, p_value = worst["gap"], number(worst["p_corrected"])
    if sure_side(gap["low"], gap["high"], int(gap["n"])) >= 0 or not worst["is_claimed"]:
        return unanswered(FIGURES["slices"], p_value)
    lead = turned(gap)
    like = "; ".join(one["words"] for one in worst["attributes"])
    text = (
        f"On {int(worst['n']):,} images that lie near each other ({percent(worst['label_share'])} of them of class "
        f"{classes[worst['label']]}{f'; {like}' if like else ''}) it is right on "
        f"{percent(worst['accuracy']['value'])}, on the other {int(gap['n']) - int(worst['n']):,} on "
        f"{percent(worst['rest']['value'])}: {points(lead['value'])} less often (95 % interval {points(lead['low'])} "
        f"to {points(lead['high'])}). The slice was found on other images, and its "
        "p-value compares within classes."
    )
    measure = measured("behind the rest", lead, "points", int(gap["n"]))
    title = f"{short_name(name)} fails on a slice, whose commonest class is {classes[worst['label']]}"
    return Finding(title, text, FIGURES["slices"], distance_from(0.0, lead), p_value, measure)


def _gap(name: str, found: Row) -> Finding:
    gap, p_value = found["gap"], number(found["p_value"])
    side = sure_side(gap["low"], gap["high"], int(gap["n"]))
    if not side:
        return unanswered(FIGURES["attention"], p_value)
    more, less, what, unit = GAPS[found["name"]]
    text = (
        f"Where it fails, {what} is {found['failures']:.3g}, on images of the same classes that it names right "
        f"{found['successes']:.3g} (difference {gap['value']:.2g}, 95 % interval {gap['low']:.2g} to "
        f"{gap['high']:.2g}; {found['num_failures']:,} failures and {found['num_successes']:,} successes in "
        f"{found['num_classes']} classes). Whether it fails because it looks so is another question: see what mends an "
        "answer."
    )
    unit_words = f" ({unit})" if unit else ""
    measure = measured(f"failures less successes{unit_words}", gap, "", int(gap["n"]))
    title = f"{short_name(name)} {more if side > 0 else less} where it fails"
    return Finding(title, text, FIGURES["attention"], distance_from(0.0, gap), p_value, measure)


def _mended(name: str, found: Row, whole: Row) -> Finding:
    gain, beside, n = found["gain"], found["gain_beside"], int(found["n"])
    p_values = [number(found["p_value"])] + ([] if beside is None else [number(found["p_beside"])])
    gains = [gain] + ([] if beside is None else [beside])
    if any(sure_side(one["low"], one["high"], n) <= 0 for one in gains):
        return unanswered(FIGURES["mending"], max(p_values))
    text = (
        f"With {whole['rule']} hidden, {percent(found['changed']['value'])} of {n:,} wrong answers become right; with "
        f"as many random patches {percent(found['by_chance']['value'])} do, {points(gain['value'])} fewer (95 % "
        f"interval {points(gain['low'])} to {points(gain['high'])})"
    )
    if beside is not None:
        text += (
            f", with random patches beside the object {percent(found['beside']['value'])} "
            f"({points(beside['value'])} fewer, {points(beside['low'])} to {points(beside['high'])})"
        )
    broken = whole["right"]
    text += (
        f". Of {int(broken['n']):,} right answers, {percent(broken['changed']['value'])} become wrong by the same."
        if broken
        else "."
    )
    title = f"Hiding what it looked at wrongly mends answers of {short_name(name)}"
    strength = min(distance_from(0.0, one) for one in gains)
    return Finding(
        title,
        text,
        FIGURES["mending"],
        strength,
        max(p_values),
        measured("mended beyond chance", gain, "points", n),
    )
