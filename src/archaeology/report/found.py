"""Findings as the report shows them: a claim, its number with interval and n, and where the evidence stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archaeology.figures.words import THIN, count, fixed, number, p_value, tight

# What a finding may name as its evidence besides a chapter or a figure.
EVIDENCE = {
    "failures": "figure-failure_types",
    "ablation": "figure-ablation_loss",
    "accuracy": "figure-accuracy",
    "verdict": "figure-accuracy",
}


@dataclass(frozen=True)
class FindingView:
    """One finding, with where its evidence stands.

    Attributes:
        title: The claim.
        number: What was measured, with interval and n; "" for a run that does not say, or where things were counted.
        sure: How significant it is among all questions of the run; "" for a run that does not say.
        text: The evidence in whole sentences.
        anchor: Where on the page; None where nothing shows it.
        evidence: What that place is called.
    """

    title: str
    number: str
    sure: str
    text: str
    anchor: str | None
    evidence: str


def found_view(
    found: Mapping[str, Any], figures: Mapping[str, str], chapters: Mapping[str, str]
) -> FindingView:
    """A finding of `results.json`.

    Args:
        found: The finding.
        figures: Titles of the figures on the page, by name.
        chapters: Titles of its chapters, by key.
    """
    title, text, evidence = (tight(str(found[key])) for key in ("title", "text", "evidence"))
    p = found.get("p_corrected")
    shown = {
        "title": title,
        "number": number_words(found.get("measure") or {}),
        "sure": "" if p is None else f"p {p_value(float(p))} after correction",
        "text": text,
    }
    anchor = EVIDENCE.get(evidence, f"figure-{evidence}")
    name = anchor.removeprefix("figure-")
    if name in figures:
        return FindingView(**shown, anchor=anchor, evidence=figures[name])
    chapter = chapters.get(evidence)
    return FindingView(**shown, anchor=evidence if chapter else None, evidence=chapter or evidence)


def number_words(measure: Mapping[str, Any]) -> str:
    """As in "lead over the ViT 6.5 points (4.1 to 8.9, n = 1,000 images)"; "" where nothing was measured."""
    if not measure:
        return ""
    unit, ends = measure["unit"], [measure[end] for end in ("value", "low", "high")]
    decimals = {"%": 1, "points": 1, "times": 1}.get(unit)
    value, low, high = ("∞" if one is None else _plain(float(one), decimals) for one in ends)
    value += {"%": f"{THIN}%", "points": f"{THIN}points", "times": "\N{MULTIPLICATION SIGN}"}.get(unit, "")
    return f"{tight(str(measure['name']))} {value} ({low} to {high}, n = {count(int(measure['n']))} {measure['of']})"


def _plain(value: float, decimals: int | None) -> str:
    return number(value, 3) if decimals is None else fixed(value, decimals)
