"""What the search for causes says of a run: every cause that was asked for, found or not, counts in the correction.

A run asks for causes of one kind in one model ("does it take a shortcut?") by many questions, one for each class and
attribute: those are corrected among themselves first (Bonferroni), so that the run has one question for each kind.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from archaeology.dig.finding import Finding, distance_from, measured, number, unanswered

EVIDENCE = "failures"
FIGURE = "accuracy_by_attribute"


def causes_findings(document: Mapping[str, Any]) -> list[Finding]:
    """All questions of the document (`causes.json`), answered or not, and those on attributes."""
    asked = document.get("asked") or ()
    named = {_key(one): one for one in document.get("causes") or ()}
    families: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in asked:
        families.setdefault((str(one["kind"]), str(one["model"])), []).append(one)
    found = []
    for members in families.values():
        found += [_cause(named[_key(one)], len(members)) for one in members if _key(one) in named] or [
            unanswered(EVIDENCE, _worst(members))
        ]
    gathered: dict[str, list[Mapping[str, Any]]] = {}
    for one in document.get("attributes") or ():
        gathered.setdefault(str(one["model"]), []).append(one)
    return [*found, *(unanswered(FIGURE, _worst(members)) for members in gathered.values())]


def _worst(members: Sequence[Mapping[str, Any]]) -> float:
    return min(1.0, len(members) * min(number(one["p_value"]) for one in members))


def _key(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one[name]) for name in ("kind", "model", "what", "target"))


def _cause(one: Mapping[str, Any], asked: int) -> Finding:
    found = one["effect"]
    ends = {end: float(found[end]) for end in ("value", "low", "high")}
    unit = "%" if one["kind"] in ("label errors", "duplicates") else "points"
    measure = measured(str(one["measure"]), ends, unit, int(found["n"]))
    p_value = min(1.0, asked * number(one["p_value"]))
    strength = max(1.0, distance_from(0.0, ends))
    return Finding(str(one["title"]), str(one["text"]), EVIDENCE, strength, p_value, measure)
