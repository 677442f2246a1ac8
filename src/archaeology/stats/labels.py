"""What a head does, in one word, by rules that are written down: a figure must surely lie beyond a threshold.

The rules are tried in order; the first one that surely holds gives the label. Surely means: with an interval so wide
that, at 95 %, not one of all heads and rules of the model is wrongly said to hold (Bonferroni, one-sided, Student's
over images). A head for which no rule surely holds is "mixed".

Belief that a rule holds is 1/2 (1 + s / (|s| + h)), with s how far the figure lies beyond the threshold and h the
half-width of that interval: 1/2 on the threshold, 3/4 where the interval just reaches it, near 1 far beyond, near 0 far
below. The confidence of a label is the belief in its rule (so above 3/4); that of "mixed" is the least belief that a
rule fails: below 1/2 it means that one rule probably holds and more images may show it. Confidence 0: too few images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

MIXED = "mixed"
SURE = 0.75


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        label: What a head is called where it holds.
        figure: The figure it looks at.
        side: On which side of the threshold the figure must lie.
        threshold: Where the label begins.
        reason: Why there.
    """

    label: str
    figure: str
    side: Literal["above", "below"]
    threshold: float
    reason: str

    @property
    def sign(self) -> int:
        """1 where larger figures are more of it, else -1."""
        return 1 if self.side == "above" else -1


RULES = (
    Rule(
        "class reader",
        "class_token_mass",
        "above",
        0.5,
        "patches give most of their attention to the class token",
    ),
    Rule("sink", "sink_mass", "above", 0.3, "one token drains three tenths of all attention, whoever looks"),
    Rule("local", "relative_distance", "below", 0.5, "half as far as blind attention looks on the same grid"),
    Rule("broad", "participation", "above", 0.5, "as if it looked at more than half of all keys alike"),
    Rule(
        "positional", "position_share", "above", 0.5, "most of its pattern is there whatever the image shows"
    ),
    Rule("colour-driven", "colour_alignment", "above", 0.3, "a medium correlation in the sense of Cohen"),
    Rule("edge-driven", "edge_alignment", "above", 0.3, "a medium correlation in the sense of Cohen"),
    Rule(
        "object-driven", "object_alignment", "above", 1.5, "half as much again as blind attention would give"
    ),
)
"""Simple explanations come first: what place alone explains is not credited to content, nor what colour and edges
explain to the object. Correlations of 0.3 are `cohen1988statistical`'s medium effect."""

LABELS = (*(rule.label for rule in RULES), MIXED)


@dataclass(frozen=True)
class HeadLabel:
    """What one head does.

    Attributes:
        label: One of `LABELS`.
        confidence: In [0, 1]; see above.
        holds: All rules that surely hold, in order; the first one is the label.
        nearest: For "mixed", the rule that is nearest to holding; else the label. Empty where nothing is known.
    """

    label: str
    confidence: float
    holds: tuple[str, ...]
    nearest: str


def belief(rule: Rule, value: float, half: float) -> float:
    """How surely a rule holds for a figure with an interval of that half-width, in [0, 1]; NaN if unknown."""
    if not (np.isfinite(value) and np.isfinite(half)):
        return float("nan")
    beyond = rule.sign * (value - rule.threshold)
    scale = abs(beyond) + half
    return 0.5 if scale == 0 else 0.5 * (1 + beyond / scale)


def label_head(figures: Mapping[str, float], halves: Mapping[str, float]) -> HeadLabel:
    """The label of a head from its figures and the half-widths of their intervals; NaN holds nothing."""
    beliefs = [belief(rule, figures[rule.figure], halves[rule.figure]) for rule in RULES]
    holds = tuple(rule.label for rule, sure in zip(RULES, beliefs, strict=True) if sure > SURE)
    known = [(sure, rule.label) for rule, sure in zip(RULES, beliefs, strict=True) if not np.isnan(sure)]
    if not known:
        return HeadLabel(MIXED, 0.0, (), "")
    if holds:
        confidence = next(sure for sure, label in known if label == holds[0])
        return HeadLabel(holds[0], confidence, holds, holds[0])
    best, nearest = max(known, key=lambda pair: pair[0])
    return HeadLabel(MIXED, 1 - best, (), nearest)


def simultaneous_level(num_heads: int, level: float = 0.95) -> float:
    """Coverage of two-sided intervals whose one side errs for none of `num_heads` x rules, together at `level`."""
    return 1 - 2 * (1 - level) / (num_heads * len(RULES))


def label_heads(
    figures: Sequence[Mapping[str, float]], halves: Sequence[Mapping[str, float]]
) -> tuple[HeadLabel, ...]:
    """Labels of all heads, from figures and half-widths at `simultaneous_level`."""
    return tuple(label_head(one, half) for one, half in zip(figures, halves, strict=True))
