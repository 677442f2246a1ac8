"""The images a report shows, with what each model said about them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from archaeology.dig.directory import RunDirectory
from archaeology.dig.labels import plain_name
from archaeology.explorer.outcomes import OUTCOMES
from archaeology.figures.words import percent
from archaeology.report.pictures import photo_uri


@dataclass(frozen=True)
class Answer:
    """What one model said about one image; `is_right` is None without a label."""

    name: str
    confidence: str
    is_right: bool | None
    probability: float = float("nan")


@dataclass(frozen=True)
class ShownImage:
    """One image.

    Attributes:
        row: Its row in `images.parquet`, which also names it on the page.
        id: Its name in the data.
        label: Its true class, or None.
        vit: The ViT's answer.
        cnn: The CNN's answer.
        outcome: Key into `explorer.outcomes.OUTCOMES`.
        severity: Sum of the confidences with which wrong answers were given; without labels, of differing answers.
        photo: Data URI.
    """

    row: int
    id: str
    label: str | None
    vit: Answer
    cnn: Answer
    outcome: str
    severity: float
    photo: str

    @property
    def outcome_text(self) -> str:
        """The outcome in words."""
        return OUTCOMES[self.outcome]

    @property
    def name(self) -> str:
        """What to call it: its label, or else its name in the data."""
        return self.label if self.label is not None else self.id


def shown_images(run: RunDirectory) -> dict[int, ShownImage]:
    """Every image whose pixels the run keeps, by its row in `images.parquet`."""
    group = run.specimens
    rows = [int(row) for row in np.asarray(group["image_index"])]
    pixels = np.asarray(group["pixels"])
    facts = run.images.take(rows).to_pylist()
    return {
        row: _shown(row, fact, photo_uri(picture))
        for row, fact, picture in zip(rows, facts, pixels, strict=True)
    }


def _shown(row: int, fact: dict[str, Any], photo: str) -> ShownImage:
    outcome = fact["failure"]
    if outcome is None:
        names = {plain_name(fact[f"{model}_prediction_name"] or "") for model in ("vit", "cnn")}
        outcome = "agree" if len(names) == 1 else "disagree"
    to_blame = {"vit-only": ("vit",), "cnn-only": ("cnn",), "none": (), "agree": ()}.get(
        outcome, ("vit", "cnn")
    )
    return ShownImage(
        row=row,
        id=str(fact["id"]),
        label=_class_name(fact["label_name"], fact["label"]),
        vit=_answer(fact, "vit"),
        cnn=_answer(fact, "cnn"),
        outcome=outcome,
        severity=float(sum(fact[f"{model}_confidence"] for model in to_blame)),
        photo=photo,
    )


def _answer(fact: dict[str, Any], model: str) -> Answer:
    name = _class_name(fact[f"{model}_prediction_name"], fact[f"{model}_prediction"])
    sure = float(fact[f"{model}_confidence"])
    return Answer(name or "unknown", percent(sure, 0), fact[f"{model}_correct"], sure)


def _class_name(name: str | None, index: int | None) -> str | None:
    if name:
        return name
    return None if index is None or index < 0 else f"class {index}"
