"""Is a transformer any safer without the heads that carry an attack? Two claims, each with its test.

That it withstands more (or less) must hold against the whole model and against losing as many other heads, so its
p-value is the larger of the two. That it only withstands what was made against another model is what usually comes
out: the old images are known again, and the attack made anew does as well as before.
"""

from collections.abc import Mapping
from typing import Any

from archaeology.core.names import short_name
from archaeology.dig.finding import (
    CAP,
    Finding,
    Row,
    distance_from,
    interval,
    measured,
    number,
    percent,
    points,
    turned,
    unanswered,
)
from archaeology.robustness.sureness import sure_side

FIGURE = "reattack"


def reattack_findings(models: Mapping[str, Any]) -> list[Finding]:
    """Both questions about every transformer, answered or not."""
    return [
        finding
        for name, found in models.items()
        for finding in (_withstands(name, found), _old_images(name, found))
    ]


def _rows(found: Row) -> dict[str, Row]:
    return {str(row["what"]): row for row in found["table"]}


def _withstands(name: str, found: Row) -> Finding:
    """Does it surely withstand more, or less, attacked anew, than whole and than without other heads?"""
    row, n = _rows(found)["robust"], int(found["n"])
    gain, beyond = interval(row, "without_minus_whole"), interval(row, "without_minus_others")
    p_value = max(number(row["p_whole"]), number(row["p_others"]))
    side = sure_side(gain["low"], gain["high"], n)
    if not side or side != sure_side(beyond["low"], beyond["high"], n):
        return unanswered(FIGURE, p_value)
    gain, beyond = (gain, beyond) if side > 0 else (turned(gain), turned(beyond))
    more, heads = ("more" if side > 0 else "less"), len(found["heads"])
    whole, without = interval(row, "whole"), interval(row, "without")
    text = (
        f"Attacked anew, {percent(without['value'])} of {n:,} images withstand instead of {percent(whole['value'])}, "
        f"{points(gain['value'])} {more} (95 % interval {points(gain['low'])} to {points(gain['high'])}), and "
        f"{points(beyond['value'])} {more} than without as many other heads ({points(beyond['low'])} to "
        f"{points(beyond['high'])}). The heads were chosen on other images."
    )
    title = f"Without the {heads} heads that carry most of the attack, {short_name(name)} withstands {more}"
    strength = min(CAP, distance_from(0.0, gain), distance_from(0.0, beyond))
    return Finding(title, text, FIGURE, strength, p_value, measured(f"withstand {more}", gain, "points", n))


def _old_images(name: str, found: Row) -> Finding:
    """Are images made against the whole model known again, while an attack made anew gains nothing on that?"""
    rows, n = _rows(found), int(found["n"])
    old, new = rows["old_images"], rows["robust"]
    known, withstood = interval(old, "without_minus_whole"), interval(new, "without_minus_whole")
    p_value = number(old["p_whole"])
    if sure_side(known["low"], known["high"], n) <= 0 or not withstood["high"] < known["low"]:
        return unanswered(FIGURE, p_value)
    share, left = interval(old, "without"), interval(new, "without")
    text = (
        f"Without the {len(found['heads'])} heads that carry most of the attack it knows {percent(share['value'])} of "
        f"{n:,} images that were changed against the whole model, {points(known['value'])} more than that (95 % "
        f"interval {points(known['low'])} to {points(known['high'])}). Attacked anew it is right on "
        f"{percent(left['value'])}, a change of {points(withstood['value'])} ({points(withstood['low'])} to "
        f"{points(withstood['high'])}): the attack takes another way."
    )
    title = f"Taking the carriers out of {short_name(name)} stops the old attack, not a new one"
    strength = distance_from(0.0, known)
    return Finding(title, text, FIGURE, strength, p_value, measured("known again", known, "points", n))
