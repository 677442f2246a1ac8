"""What `archaeology explain` says of an image, in words and in a table."""

from collections.abc import Iterator

import numpy as np

from archaeology.cli.explain_image import FEW_CLASSES, FLOOR, Explained, class_name
from archaeology.explain import Explanation, explanations
from archaeology.explain.method import title_of
from archaeology.figures._explained_image import ExplainedImage
from archaeology.figures.drawing import DataTable
from archaeology.figures.words import NOT_KNOWN, fixed, number, percent

NO_EVIDENCE = "no positive evidence"
FACT_WORDS = {"completeness_error": "completeness error", "relevance": "relevance arriving", "logit": "logit"}


def answer_text(one: Explained) -> str:
    """What the model says, and which class is explained."""
    shown = one.shown()
    answers = ", ".join(f"{name} {percent(share)}" for name, share in shown.answers)
    said = f"{shown.model} says {answers}."
    if one.target != one.answer:
        said += f" Explained: {shown.target} ({percent(shown.probability)})."
    classes = one.specimen.classes
    if 0 < len(classes) <= FEW_CLASSES:
        said += f" It knows {len(classes)} classes only, whatever it is shown: {', '.join(classes)}."
    return said


def marks_table(one: Explained) -> DataTable:
    """A row for each map, best mean mark first, then what random maps get."""
    judges, shown = list(one.floor), one.shown()
    rows = [_row(one, shown, name) for name in sorted(one.maps, key=lambda name: -_mean(one, name, judges))]
    if judges:
        floor = [_floor_text(one, judge) for judge in judges]
        rows.append((f"chance ({_num_floors(one)} random maps)", *floor, ""))
    return DataTable(("Method", *(judge.replace("_", " ") for judge in judges), "Facts"), tuple(rows))


def _mean(one: Explained, name: str, judges: list[str]) -> float:
    if not one.maps[name].has_evidence[0]:
        return -np.inf
    marks = [float(one.marks[name][judge].score[0]) for judge in judges]
    return float(np.nan_to_num(np.mean(marks), nan=-1e9)) if marks else 0.0


def _row(one: Explained, shown: ExplainedImage, name: str) -> tuple[str, ...]:
    found = next(each for each in shown.maps if each.method == name)
    if not found.has_evidence:
        return (name, *[NOT_KNOWN] * len(one.floor), NO_EVIDENCE)
    marks = [
        fixed(found.marks[judge], 2) + ("*" if shown.beats_chance(found, judge) else "")
        for judge in one.floor
    ]
    return (name, *marks, facts_text(name, one.maps[name]))


def facts_text(name: str, explanation: Explanation) -> str:
    """What a method found out about itself on this image."""
    said = [
        f"{FACT_WORDS.get(fact, fact.replace('_', ' '))} {number(float(value[0]))}"
        for fact, value in explanation.facts.items()
    ]
    if not explanations.get(name).looks_at_class and name != FLOOR:
        said.append("the same for any class")
    return ", ".join(said)


def _floor_text(one: Explained, judge: str) -> str:
    values = [value for value in one.floor[judge] if np.isfinite(value)]
    if not values:
        return NOT_KNOWN
    return f"{fixed(float(np.mean(values)), 2)} ({fixed(min(values), 2)} to {fixed(max(values), 2)})"


def notes(one: Explained) -> Iterator[str]:
    """How to read the table."""
    if not one.floor:
        return
    if one.target != one.answer:
        yield (
            f"The model does not answer {class_name(one.specimen, one.target)} but "
            f"{class_name(one.specimen, one.answer)}, so marks say little: there is hardly anything to take away."
        )
    yield f"Higher is better, best mean first; * lies above all {_num_floors(one)} random maps."


def _num_floors(one: Explained) -> int:
    return max(map(len, one.floor.values()))


def missing_text(one: Explained) -> Iterator[str]:
    """Methods that the model does not allow, with the reason."""
    if one.missing:
        yield f"Not for {one.specimen.name}:"
    for name, reason in one.missing.items():
        yield f"  {title_of(name)} ({name}): {reason}"
