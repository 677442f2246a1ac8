"""What hurts a model without any attack: noise of a frequency, filters, corruptions, lost patches, other textures."""

from collections.abc import Mapping
from typing import Any

from archaeology.core.names import plural, short_name
from archaeology.dig.finding import (
    Finding,
    distance_from,
    interval,
    measured,
    ordered,
    p_between,
    p_of,
    percent,
    points,
    side,
    turned,
    unanswered,
)


def frequency_findings(found: Mapping[str, Any]) -> list[Finding]:
    """Which band of frequencies breaks a model more than every other?"""
    said = []
    for name, model in (found.get("models") or {}).items():
        errors = [(row, interval(row, "error")) for row in model["rings"]]
        row, worst = max(errors, key=lambda pair: pair[1]["value"])
        rest = [error for other, error in errors if other is not row]
        if not rest:
            continue
        second = max(rest, key=lambda error: error["value"])
        p_value = max(p_between(worst, error, tried=len(errors)) for error in rest)
        if not all(worst["low"] > error["high"] for error in rest):
            said.append(unanswered("fourier_sensitivity", p_value))
            continue
        text = (
            f"Noise there makes it wrong on {percent(worst['value'])} of {plural(int(row['n']), 'image')} (95 % "
            f"interval "
            f"{percent(worst['low'])} to {percent(worst['high'])}), elsewhere on at most {percent(second['value'])} "
            f"({percent(second['low'])} to {percent(second['high'])})."
        )
        band = f"{100 * row['low']:.0f} to {100 * min(row['high'], 1.0):.0f} % of the finest frequency"
        title = f"{short_name(name)} is weakest against patterns at {band}"
        measure = measured("wrong under noise of that frequency", worst, "%", row["n"])
        strength = distance_from(second["high"], worst)
        said.append(Finding(title, text, "fourier_sensitivity", strength, p_value, measure))
    return said


def pass_findings(found: Mapping[str, Any]) -> list[Finding]:
    """Does a model need fine patterns more than coarse ones, or the other way round?"""
    said = []
    table = found.get("table") or ()
    if not table:
        return []
    cutoff = min({float(row["cutoff"]) for row in table}, key=lambda one: abs(one - 0.5))
    there = {(row["specimen"], row["kind"]): row for row in table if float(row["cutoff"]) == cutoff}
    for name in found["specimens"]:
        fine, coarse = (interval(there[name, kind], "lost") for kind in ("low", "high"))
        p_value = min(p_between(fine, coarse), p_between(coarse, fine))  # one of them is 1
        if fine["low"] <= coarse["high"] and coarse["low"] <= fine["high"]:
            said.append(unanswered("frequency_passes", p_value))
            continue
        for more, less, needed, spared in (
            (fine, coarse, "fine", "coarse"),
            (coarse, fine, "coarse", "fine"),
        ):
            if more["low"] > less["high"]:
                text = (
                    f"Cut at {100 * cutoff:.0f} % of the finest frequency, it loses {points(more['value'])} (95 % "
                    f"interval {points(more['low'])} to {points(more['high'])}) without {needed} patterns and "
                    f"{points(less['value'])} ({points(less['low'])} to {points(less['high'])}) without {spared} ones "
                    f"(n = {int(there[name, 'low']['n']):,})."
                )
                title = f"{short_name(name)} needs {needed} patterns more than {spared} ones"
                measure = measured(f"lost without {needed} patterns", more, "points", there[name, "low"]["n"])
                strength = distance_from(less["high"], more)
                said.append(Finding(title, text, "frequency_passes", strength, p_value, measure))
    return said


def corruption_findings(found: Mapping[str, Any]) -> list[Finding]:
    """Who errs less on corrupted images, and which corruption is worse than the mean of all?"""
    said = []
    reference = str(found.get("reference"))
    for name, model in (found.get("models") or {}).items():
        gap, mean = interval(model, "difference"), interval(model, "mean_error")
        if name != reference and not side(gap):
            said.append(unanswered("corruptions", p_of(gap)))
        elif name != reference:
            better, worse = (reference, name) if side(gap) > 0 else (name, reference)
            gap = gap if side(gap) > 0 else turned(gap)
            text = (
                f"Over {len(found['corruptions'])} corruptions at all severities {short_name(better)} errs "
                f"{points(gap['value'])} less on the same {plural(int(found['n']), 'image')} (95 % interval "
                f"{points(gap['low'])} to {points(gap['high'])})."
            )
            title = f"{short_name(better)} withstands corruptions better than {short_name(worse)}"
            measure = measured("fewer errors", gap, "points", found["n"])
            said.append(Finding(title, text, "corruptions", distance_from(0.0, gap), p_of(gap), measure))
        said += _worst_corruption(found, name, mean)
    return said


def _worst_corruption(found: Mapping[str, Any], name: str, mean: Mapping[str, float]) -> list[Finding]:
    kinds = found["models"][name].get("by_kind")
    if not kinds:  # a run from before images were counted kind by kind
        return []
    worst = max(
        (interval(row, "error") | {"kind": row["corruption"]} for row in kinds), key=lambda one: one["value"]
    )
    p_value = p_between(worst, mean, tried=len(found["corruptions"]))
    if not worst["low"] > mean["high"]:
        return [unanswered("corruptions", p_value)]
    kind = str(worst["kind"]).replace("_", " ")
    text = (
        f"It is wrong on {percent(worst['value'])} of {plural(int(found['n']), 'image')} (95 % interval "
        f"{percent(worst['low'])} to {percent(worst['high'])}, mean over severities), on {percent(mean['value'])} "
        f"({percent(mean['low'])} to {percent(mean['high'])}) over all corruptions."
    )
    title = f"The worst corruption for {short_name(name)} is {kind}"
    measure = measured("wrong under it", worst, "%", found["n"])
    return [Finding(title, text, "corruptions", distance_from(mean["high"], worst), p_value, measure)]


def patch_findings(found: Mapping[str, Any]) -> list[Finding]:
    """Which of two models loses less without half of its patches?"""
    rows = [row for row in found.get("differences") or () if row["kind"] == "drop_random"]
    if not rows:
        return []
    level = min({float(row["level"]) for row in rows}, key=lambda one: abs(one - 0.5))
    lost = {
        row["specimen"]: interval(row, "lost")
        for row in found["table"]
        if row["kind"] == "drop_random" and float(row["level"]) == level
    }
    said = []
    for row in rows:
        gap, worse, better = ordered(row, "lost_difference")
        if float(row["level"]) != level:
            continue
        if not side(gap):
            said.append(unanswered("patch_drop", p_of(gap)))
            continue
        text = (
            f"Without {percent(level)} of patches, at random, it loses {points(lost[better]['value'])}, "
            f"{short_name(worse)} {points(lost[worse]['value'])}, on the same {plural(int(row['n']), 'image')}: "
            f"{points(gap['value'])} less (95 % interval {points(gap['low'])} to {points(gap['high'])})."
        )
        title = f"{short_name(better)} does better with missing patches than {short_name(worse)}"
        measure = measured("less accuracy lost", gap, "points", row["n"])
        said.append(Finding(title, text, "patch_drop", distance_from(0.0, gap), p_of(gap), measure))
    return said


def shape_findings(found: Mapping[str, Any]) -> list[Finding]:
    """Who goes by shape, or by texture, and who more than the other?"""
    said = []
    for row in found.get("table") or ():
        share = interval(row, "shape_share")
        if row["cutoff"] is not None:
            continue
        if not side(share, 0.5):
            said.append(unanswered("shape_share", p_of(share, 0.5)))
            continue
        is_phase = found.get("kind") == "phase"
        cues = "outlines (Fourier phases) and texture (amplitudes)" if is_phase else "shape and texture"
        by_what = "outlines" if is_phase else "shape"
        by = "shape" if side(share, 0.5) > 0 else "texture"
        text = (
            f"Where {cues} name different classes, it goes by {by_what} in {percent(share['value'])} of "
            f"{int(row['num_decisions']):,} decisions (95 % interval {percent(share['low'])} to "
            f"{percent(share['high'])})."
        )
        measure = measured("decisions by shape", share, "%", row["num_decisions"], "decisions")
        title, strength = f"{short_name(row['specimen'])} goes by {by}", distance_from(0.5, share)
        said.append(Finding(title, text, "shape_share", strength, p_of(share, 0.5), measure))
    for row in found.get("differences") or ():
        gap, more, less = ordered(row, "difference")
        if row["cutoff"] is None and not side(gap):
            said.append(unanswered("shape_share", p_of(gap)))
        elif row["cutoff"] is None:
            text = (
                f"The share of decisions by shape differs by {points(gap['value'])} (95 % interval "
                f"{points(gap['low'])} to {points(gap['high'])}, the same {plural(int(row['n']), 'image')})."
            )
            title = f"{short_name(more)} goes by shape more often than {short_name(less)}"
            measure = measured("more decisions by shape", gap, "points", row["n"])
            said.append(Finding(title, text, "shape_share", distance_from(0.0, gap), p_of(gap), measure))
    return said
