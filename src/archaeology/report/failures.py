"""Where they fail: which class is taken for which, how often, and by whom."""

from collections import Counter
from dataclasses import dataclass

from archaeology.core.intervals import wilson
from archaeology.dig.directory import RunDirectory
from archaeology.figures.words import count, percent

MOST_CONFUSIONS = 12  # rows of the table
FEWEST = 2  # images with the same confusion, below which it is not listed
NAMES = {"vit": "ViT", "cnn": "CNN"}


@dataclass(frozen=True)
class Confusion:
    """Images of one class taken for another by one model, as words."""

    model: str
    label: str
    answer: str
    number: str
    share: str


@dataclass(frozen=True)
class Failures:
    """The chapter.

    Attributes:
        confusions: The most frequent ones of both models, most frequent first.
        num_other: How many kinds of confusion are not listed.
    """

    confusions: tuple[Confusion, ...]
    num_other: int


def failures(run: RunDirectory) -> Failures | None:
    """The chapter; None without labels."""
    if run.results["accuracy"] is None:
        return None
    rows = run.images.select(
        ["label_name", *(f"{model}_{key}" for model in NAMES for key in ("prediction_name", "correct"))]
    ).to_pylist()
    images_of = Counter(str(row["label_name"]) for row in rows)
    taken = Counter(
        (model, str(row["label_name"]), str(row[f"{model}_prediction_name"]))
        for row in rows
        for model in NAMES
        if not row[f"{model}_correct"]
    )
    ranked = sorted(taken.items(), key=lambda item: (-item[1], item[0]))
    listed = [item for item in ranked if item[1] >= FEWEST][:MOST_CONFUSIONS]
    return Failures(
        tuple(_confusion(*key, times, images_of[key[1]]) for key, times in listed), len(ranked) - len(listed)
    )


def _confusion(model: str, label: str, answer: str, times: int, images: int) -> Confusion:
    found = wilson(times, images)
    share = f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"
    return Confusion(NAMES[model], label, answer, f"{count(times)} of {count(images)}", share)
