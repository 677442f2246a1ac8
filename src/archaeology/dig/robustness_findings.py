"""What a survey of robustness says: who withstands more, what is not to be believed, what hurts most, where and how.

Every sentence has its number, its interval and the figure that shows it, and is only written where the interval
excludes what chance would give.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from archaeology.attacks.method import title_of
from archaeology.core.names import plural, short_name
from archaeology.dig.disturbance_findings import (
    corruption_findings,
    frequency_findings,
    pass_findings,
    patch_findings,
    shape_findings,
)
from archaeology.dig.finding import (
    CAP,
    LEVEL,
    Finding,
    Row,
    distance_from,
    interval,
    measured,
    number,
    ordered,
    p_between,
    p_of,
    percent,
    points,
    side,
    unanswered,
)
from archaeology.dig.reattack_findings import reattack_findings
from archaeology.robustness.sureness import sure_side

NORMS = {"linf": "L\N{INFINITY}", "l2": "L2"}
DISBELIEF = 30.0  # strength of a flag: whoever reads only one finding must read that
TWICE = 2.0


def robustness_findings(document: Mapping[str, Any]) -> list[Finding]:
    """All that the document of a survey (`robustness.json`) was asked, answered or not, in no order."""
    return [
        *_flags(document.get("gradients") or {}),
        *_flags(document.get("gradients_l2") or {}, " in L2"),
        *_curves(document.get("curves") or ()),
        *_transfer(document.get("transfer") or {}),
        *frequency_findings(document.get("fourier") or {}),
        *pass_findings(document.get("passes") or {}),
        *corruption_findings(document.get("corruptions") or {}),
        *patch_findings(document.get("patches") or {}),
        *shape_findings(document.get("shape") or {}),
        *_attention(document.get("attention") or {}),
        *_carriers(document.get("carriers") or {}),
        *reattack_findings(document.get("reattack") or {}),
    ]


def _flags(gradients: Mapping[str, Any], where: str = "") -> list[Finding]:
    found = []
    for name, report in gradients.items():
        p_value = min((number(one["p_corrected"]) for one in report["suspicions"]), default=1.0)
        if not report["flags"]:
            found.append(unanswered("robustness", p_value))
        else:
            reasons = "; ".join(str(flag).rstrip(".") for flag in report["flags"])
            text = (
                f"So its robust accuracy may be an artefact. Signs, each tested and corrected (Holm, level "
                f"{report['level']:g}), on {plural(int(report['n']), 'image')}: {reasons}."
            )
            found.append(
                Finding(
                    f"Gradients of {short_name(name)} may be masked{where}",
                    text,
                    "robustness",
                    DISBELIEF,
                    p_value,
                )
            )
    return found


def _curves(panels: Sequence[Row]) -> list[Finding]:
    """Which of two models keeps more accuracy, over all sizes of one attack?"""
    found = []
    for panel in panels:
        areas = {curve["specimen"]: interval(curve, "area") for curve in panel["curves"]}
        largest = float(panel["curves"][0]["epsilons"][-1]) if panel["curves"] else 0.0
        upto = f"{255 * largest:.3g}/255" if panel["norm"] == "linf" else f"{largest:.3g}"
        attack = f"{title_of(str(panel['attack']))} ({NORMS.get(panel['norm'], panel['norm'])})"
        for row in panel["areas"]:
            gap, better, worse = ordered(row, "difference")
            if not sure_side(gap["low"], gap["high"], int(row["n"])):
                found.append(unanswered("robustness_curve", p_of(gap)))
                continue
            text = (
                f"Averaged over changes up to {upto} it is right on at most {percent(areas[better]['value'])} of "
                f"{plural(int(row['n']), 'image')}, {short_name(worse)} on {percent(areas[worse]['value'])}: a "
                f"difference of "
                f"{points(gap['value'])} (95 % interval {points(gap['low'])} to {points(gap['high'])})."
            )
            title = f"{short_name(better)} withstands {attack} longer than {short_name(worse)}"
            measure = measured("mean accuracy kept beyond the other's", gap, "points", row["n"])
            found.append(
                Finding(title, text, "robustness_curve", distance_from(0.0, gap), p_of(gap), measure)
            )
    return found


def _transfer(found: Mapping[str, Any]) -> list[Finding]:
    """Do changes carry over, and more one way than the other?"""
    rows = {(row["source"], row["target"]): row for row in found.get("table") or () if int(row["n"])}
    beyond = {pair: interval(row, "beyond_noise") for pair, row in rows.items() if pair[0] != pair[1]}
    said = []
    sure = [pair for pair, one in beyond.items() if side(one) > 0]
    if beyond and not sure:
        said.append(unanswered("transfer", min(p_of(one, tried=len(beyond)) for one in beyond.values())))
    if sure:
        best = max(sure, key=lambda pair: beyond[pair]["value"])
        one, row = beyond[best], rows[best]
        broken = interval(row, "success")
        text = (
            f"Images changed against {short_name(best[0])} break {percent(broken['value'])} (95 % interval "
            f"{percent(broken['low'])} to {percent(broken['high'])}) of the {int(row['n']):,} that both models are "
            f"right about, {points(one['value'])} more than noise of the same size ({points(one['low'])} to "
            f"{points(one['high'])})."
        )
        title = f"What breaks {short_name(best[0])} breaks {short_name(best[1])} too"
        measure = measured("broken beyond noise", one, "points", row["n"])
        p_value = p_of(one, tried=len(beyond))
        said.append(Finding(title, text, "transfer", distance_from(0.0, one) / 2, p_value, measure))
    for (source, target), there in beyond.items():
        back = beyond.get((target, source))
        if back is None or there["value"] <= back["value"]:
            continue  # each pair of models is asked once, from the side that carries further
        p_value = p_between(there, back)
        if there["low"] <= back["high"]:
            said.append(unanswered("transfer", p_value))
        else:
            text = (
                f"Beyond noise, changes made against {short_name(source)} break {points(there['value'])} of "
                f"{short_name(target)}'s images (95 % interval {points(there['low'])} to {points(there['high'])}), the "
                f"other way {points(back['value'])} ({points(back['low'])} to {points(back['high'])})."
            )
            title = f"Attacks carry over from {short_name(source)} to {short_name(target)} more than back"
            gap = (there["low"] - back["high"]) / max(there["value"] - there["low"], 1e-9)
            measure = measured("broken beyond noise", there, "points", rows[source, target]["n"])
            said.append(Finding(title, text, "transfer", min(CAP, 1 + gap), p_value, measure))
    return said


def _attention(models: Mapping[str, Any]) -> list[Finding]:
    """At which layer does the attack first move attention more than twice as far as noise?"""
    said = []
    for name, found in models.items():
        layer = (found.get("parting_twice") or {}).get("shift")
        rows = {int(row["layer"]): row for row in found["layers"] if row["measure"] == "shift"}
        if layer is None or layer not in rows:
            said.append(unanswered("attention_shift", 1.0))
            continue
        ratio = interval(rows[layer], "ratio")
        p_value = p_of(ratio, TWICE, tried=len(rows))
        text = (
            f"There the attack first (sign-flip test over {plural(int(found['n']), 'image')}, corrected over layers) "
            f"moves attention more than {TWICE:g} times as far as noise of the same size: {ratio['value']:.1f} times "
            f"(95 % interval {ratio['low']:.1f} to {ratio['high']:.1f})."
        )
        title = f"In {short_name(name)} an attack parts from noise at layer {layer + 1} of {len(rows)}"
        measure = measured("shift against that of noise", ratio, "times", found["n"])
        strength = max(1.0, distance_from(1.0, ratio) / 2)
        said.append(Finding(title, text, "attention_shift", strength, p_value, measure))
    return said


def _carriers(models: Mapping[str, Any]) -> list[Finding]:
    """Which head alone rescues most images?"""
    said = []
    for name, found in models.items():
        rows = [
            row for row in found["heads"] if number(row["p_corrected"]) < LEVEL and number(row["gain"]) > 0
        ]
        if not rows:
            said.append(unanswered("attack_carriers", 1.0))
            continue
        best = max(rows, key=lambda row: (number(row["rescued"]), number(row["recovered"])))
        rescued, back = interval(best, "rescued"), interval(best, "recovered")
        text = (
            f"Given back what it said before the attack, it alone rescues {percent(rescued['value'])} of "
            f"{plural(int(best['n']), 'image')} (95 % interval {percent(rescued['low'])} to "
            f"{percent(rescued['high'])}) and "
            f"brings back {percent(back['value'])} of the lost margin ({percent(back['low'])} to "
            f"{percent(back['high'])}); {len(rows)} of {len(found['heads'])} heads help (sign-flip "
            "test, corrected over heads)."
        )
        head = f"Head {best['head'] + 1} of layer {best['layer'] + 1}"
        title = f"{head} carries more of the attack on {short_name(name)} than any other, on these images"
        measure = measured("lost margin brought back", back, "%", best["n"])
        strength, p_value = max(1.0, distance_from(0.0, back) / 4), p_of(back, tried=len(found["heads"]))
        said.append(Finding(title, text, "attack_carriers", strength, p_value, measure))
    return said
