"""One thing a reader should know, with how strongly the numbers say it; and numbers in words.

Strength is how far a number lies from "nothing to see", in half-widths of its interval (capped at 20), so that unlike
things can be ranked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CAP = 20.0
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One sentence or two, with where the evidence stands in the report."""

    title: str
    text: str
    evidence: str
    strength: float


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


def short_name(name: str) -> str:
    """A model's name without where it comes from."""
    return name.split(":", 1)[-1].rstrip("/").rsplit("/", 1)[-1] or name


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
