"""One thing a reader should know, with how strongly the numbers say it; and numbers in words.

Strength is how far a number lies from "nothing to see", in half-widths of its interval (capped at 20), so that unlike
things can be ranked. Every question that a run could answer has a p-value, also those that it did not answer: what is
found is corrected for all that was asked (`findings.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.many import corrected

CAP = 20.0
LEVEL = 0.05  # of all findings of a run together
HALF = NormalDist().inv_cdf(0.975)  # standard errors in the half-width of a 95 % interval
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """The number of a finding.

    Attributes:
        name: What was measured, in a few words.
        value: In `unit`.
        low: Lower end of its 95 % interval.
        high: Upper end.
        unit: "%", "points" (of a hundred), "times", or "" for a number without one.
        n: How many were asked.
        of: What was asked: "images", "heads", "decisions".
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    n: int
    of: str = "images"


@dataclass(frozen=True)
class Finding:
    """One sentence or two, with where the evidence stands in the report.

    Attributes:
        title: The claim; "" for a question that the numbers do not answer.
        text: Its evidence: number, interval, n.
        evidence: A chapter or a figure of the report.
        strength: In half-widths of an interval.
        p_value: Of the question, corrected for the choices made within it (the worst of ten: times ten).
        measure: The number alone; None where there is none with an interval.
        p_corrected: Among all questions of the run (Holm).
    """

    title: str
    text: str
    evidence: str
    strength: float
    p_value: float
    measure: Measure | None = None
    p_corrected: float = 1.0


def unanswered(evidence: str, p_value: float) -> Finding:
    """A question that was asked, and that the numbers do not answer: it counts in the correction."""
    return Finding("", "", evidence, 0.0, p_value)


def answered(asked: Sequence[Finding]) -> list[Finding]:
    """Questions whose answer is significant after Holm's correction for all that were asked, the strongest first."""
    p_values = corrected(np.array([one.p_value for one in asked], dtype=np.float64))
    judged = [replace(one, p_corrected=float(p)) for one, p in zip(asked, p_values, strict=True)]
    kept = [one for one in judged if one.title and one.strength >= 1 and one.p_corrected < LEVEL]
    return sorted(kept, key=lambda one: -one.strength)


def p_of(interval: Row, nothing: float = 0.0, *, tried: int = 1) -> float:
    """P-value of "the truth is `nothing`", read off a 95 % interval as if its errors were normal.

    Unlike that of a sign-flip test it has no smallest value, which correction for many questions would lift above 0.05.

    Args:
        interval: With `value`, `low` and `high`; the side that faces `nothing` counts.
        nothing: What would be no finding.
        tried: Of how many this was chosen as the most extreme (Bonferroni).

    Returns:
        In [0, 1]; 1 where the interval has no width (nothing varied, which is no proof) or an end is unknown.
    """
    near = interval["low"] if interval["value"] > nothing else interval["high"]
    return _p(abs(interval["value"] - nothing), abs(interval["value"] - near), tried)


def p_between(larger: Row, smaller: Row, *, tried: int = 1, freedom: int | None = None) -> float:
    """P-value of "both are equal", from two 95 % intervals as if their errors were normal and independent.

    Errors on the same images mostly point the same way, so this is rather too large. `freedom` is that of Student's
    intervals, whose tails are heavier.
    """
    gap = larger["value"] - smaller["value"]
    half = math.hypot(larger["value"] - larger["low"], smaller["high"] - smaller["value"])
    return _p(gap, half, tried, freedom) if gap > 0 else 1.0


def _p(gap: float, half: float, tried: int, freedom: int | None = None) -> float:
    if not (math.isfinite(gap) and math.isfinite(half)) or half <= 0:
        return 1.0
    if freedom is not None:
        error = half / float(stats.t.ppf(0.975, freedom))  # pyright: ignore
        return min(1.0, tried * 2 * float(stats.t.sf(gap / error, freedom)))  # pyright: ignore
    return min(1.0, tried * 2 * NormalDist().cdf(-HALF * gap / half))


def measured(name: str, found: Row, unit: str, n: int, of: str = "images") -> Measure:
    """`found` as the number of a finding; shares become hundredths where the unit asks for it."""
    factor = 100.0 if unit in ("%", "points") else 1.0
    ends = {end: factor * float(found[end]) for end in ("value", "low", "high")}
    return Measure(name, **ends, unit=unit, n=int(n), of=of)


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


def interval(row: Row, key: str) -> dict[str, float]:
    """`key` of a row and the ends of its interval; NaN for null."""
    return {
        end: number(row.get(key + tail)) for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))
    }


def side(found: Mapping[str, float], nothing: float = 0.0) -> int:
    """1 or -1 where the interval lies above or below `nothing`, else 0; NaN tells nothing."""
    return int(found["low"] > nothing) - int(found["high"] < nothing)


def turned(found: Mapping[str, float]) -> dict[str, float]:
    """The same with its sign changed."""
    return {"value": -found["value"], "low": -found["high"], "high": -found["low"]}


def ordered(row: Row, key: str) -> tuple[dict[str, float], str, str]:
    """A difference turned so that it is not negative, with the name of the larger and of the smaller."""
    gap, first, other = interval(row, key), str(row["specimen"]), str(row["other"])
    return (gap, first, other) if gap["value"] >= 0 else (turned(gap), other, first)


def percent(share: float) -> str:
    """0.864 -> 86.4 %."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """0.075 -> 7.5 points (of a hundred)."""
    return f"{100 * share:.1f} points"


def p_text(p_value: float) -> str:
    """A p-value as people read it, with its sign of equality."""
    return f"= {p_value:.3f}" if p_value >= 0.001 else "< 0.001"
