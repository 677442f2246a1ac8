"""What failures have in common: causes that the numbers carry, the strongest first, each with images that show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from archaeology.core.intervals import wilson
from archaeology.core.names import data_name, plural, short_name
from archaeology.core.pictures import picture_of
from archaeology.dig.directory import RunDirectory
from archaeology.dig.finding import number
from archaeology.figures.words import count, fixed, p_value, tight
from archaeology.report.pictures import photo_uri

TITLE = "What failures have in common"
MOST_CAUSES = 8  # shown whole; the rest is in causes.json
MOST_PICTURES = 6
KINDS = {
    "shortcut": "a shortcut",
    "label errors": "the labels",
    "duplicates": "the data",
    "attribute": "the kind of image",
}


@dataclass(frozen=True)
class CausePicture:
    """An image that shows a cause: its pixels as a data URI, and what it is."""

    uri: str
    words: str


@dataclass(frozen=True)
class CauseView:
    """One cause.

    Attributes:
        title: It, in one plain sentence.
        kind: What sort of thing is to blame.
        number: The effect with its interval and n.
        sure: Its p-value after correction.
        text: The evidence.
        pictures: A few images that show it.
    """

    title: str
    kind: str
    number: str
    sure: str
    text: str
    pictures: tuple[CausePicture, ...]


@dataclass(frozen=True)
class CausesView:
    """The section.

    Attributes:
        title: Of the section.
        opening: What was asked, and what came of it.
        causes: The strongest first.
        num_other: Causes that are only in `causes.json`.
        notes: What must be said besides.
    """

    title: str
    opening: str
    causes: tuple[CauseView, ...]
    num_other: int
    notes: tuple[str, ...]


def causes(run: RunDirectory) -> CausesView | None:
    """The section; None for a run in which causes were not looked for."""
    document = run.causes
    if not document:
        return None
    if "asked" not in document:
        return CausesView(TITLE, tight(f"No cause was looked for: {document['reason']}."), (), 0, ())
    found = document["causes"]
    views = tuple(_view(one, document) for one in found[:MOST_CAUSES])
    return CausesView(
        TITLE, tight(_opening(document)), views, max(0, len(found) - MOST_CAUSES), _notes(document)
    )


def _opening(document: Mapping[str, Any]) -> str:
    found = document["causes"]
    asked = (
        f"{plural(int(document['num_questions']), 'question')} were asked of {plural(int(document['n']), 'image')}: "
        "shortcuts (is a class told by an attribute or by a mark, and do answers follow where that is given to other "
        "images), wrong labels, copies, and attributes that failures gather at"
    )
    if not found:
        return (
            f"{asked}. None could be named after correction for all of these questions (Holm), which does not show "
            "that there is none."
        )
    return (
        f"{asked}. {plural(len(found), 'cause')} can be named after correction for all of these questions (Holm), the "
        "strongest first. Those that do so after correction for all questions of the run are findings, too."
    )


def _view(one: Mapping[str, Any], document: Mapping[str, Any]) -> CauseView:
    effect = one["effect"]
    unit = "%" if one["kind"] in ("label errors", "duplicates") else "points"
    value, low, high = (fixed(100 * float(effect[end]), 1) for end in ("value", "low", "high"))
    effect_words = f"{one['measure']}: {value} {unit} ({low} to {high}, n = {count(int(effect['n']))})"
    pictures = document.get("pictures") or {}
    shown = [row for row in one["examples"] if str(row) in pictures][:MOST_PICTURES]
    return CauseView(
        title=tight(str(one["title"])),
        kind=KINDS.get(str(one["kind"]), str(one["kind"])),
        number=tight(effect_words),
        sure=f"p {p_value(float(one['p_corrected']))} after correction for the questions on causes",
        text=tight(str(one["text"])),
        pictures=tuple(
            CausePicture(
                _uri(pictures[str(row)]), f"{document['ids'][row]}, labelled {_label(document, row)}"
            )
            for row in shown
        ),
    )


def _label(document: Mapping[str, Any], row: int) -> str:
    return str(document["classes"][document["labels"][row]])


def _uri(png: str) -> str:
    return photo_uri(np.ascontiguousarray(np.moveaxis(np.asarray(picture_of(png)), -1, 0)))


def _ends(share: Mapping[str, Any]) -> str:
    value, low, high = (fixed(100 * number(share[end]), 1) for end in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def _copied(document: Mapping[str, Any]) -> dict[str, float]:
    copies = document["duplicates"]
    rows = {pair[1 if copies["within"] else 0] for pair in copies["pairs"]}
    found = wilson(len(rows), int(document["n"]))
    return {"value": found.value, "low": found.low, "high": found.high}


def _on_copies(one: Mapping[str, Any], *, level: float, within: bool) -> str:
    """Whether one model is right more or less often on images with a copy, in a sentence."""
    images = "images that come again, each counted once," if within else "images with a copy"
    p = number(one["p_corrected"])
    kind = "more" if number(one["difference"]["value"]) > 0 else "less"
    verdict = f"{kind} often than by chance" if p < level else "not shown to differ"
    return (
        f"On {count(int(one['copied']['n']))} {images} {short_name(str(one['model']))} is right in "
        f"{_ends(one['copied'])}, on {count(int(one['others']['n']))} others of their classes in "
        f"{_ends(one['others'])}: {verdict} within classes (p {p_value(p)} after correction for the questions on "
        "causes)."
    )


def _notes(document: Mapping[str, Any]) -> tuple[str, ...]:
    said = []
    wrong, copies = document["label_errors"], document["duplicates"]
    if wrong["reason"]:
        said.append(f"Wrong labels were not counted: {wrong['reason']}.")
    elif not any(one["kind"] == "label errors" for one in document["causes"]):
        said.append(
            f"{plural(len(wrong['suspects']), 'label')} are suspected by confident learning (listed in causes.json). "
            "Wrong labels were not shown to be more than mistakes of the models explain: estimate "
            f"{_ends(wrong['share'])}."
        )
    other = "another" if copies["within"] else "one that the models learned from"
    if len(copies["pairs"]) and not any(one["kind"] == "duplicates" for one in document["causes"]):
        said.append(
            f"{plural(len(copies['pairs']), 'image')} with the same pixels as {other}, or alike when shrunk. "
            "Images with a copy were not "
            f"shown to be more than one in a hundred: {_ends(_copied(document))}."
        )
    said += [
        _on_copies(one, level=float(document["level"]), within=bool(copies["within"]))
        for one in copies.get("right") or ()
    ]
    if "training" in document:
        learned = document["training"]
        said.append(
            f"Copies were looked for among the {count(int(learned['n']))} images that the models learned from "
            f"({data_name(str(learned['name']), learned['split'])})."
        )
    said.append(
        "Not found: marks that come in several places or are half transparent, labels that people confuse, copies that "
        "were cropped or mirrored, attributes that are not in the figure."
    )
    return tuple(tight(line) for line in said)
