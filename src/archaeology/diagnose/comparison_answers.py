"""Finished models on the same test images: what one names rightly and another does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from archaeology.core.intervals import Interval, McNemar, mcnemar, paired_bootstrap
from archaeology.core.progress import progress
from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.data.source import ImageSource
from archaeology.diagnose.comparison_groups import Group
from archaeology.diagnose.comparison_runs import ComparedRun
from archaeology.diagnose.places import opened, place_of
from archaeology.specimens.run import load_run

BATCH = 500
TOLERANCE = 0.002  # of an accuracy that was recorded on other hardware or in another precision


@dataclass(frozen=True)
class TestImages:
    """Images to show to all models.

    Attributes:
        source: Not decoded yet.
        spec: How they were named.
        is_recorded: Whether they are the very images that the runs were measured on.
    """

    __test__ = False  # not a class of tests

    source: ImageSource
    spec: str
    is_recorded: bool

    def decoded(self, size: tuple[int, int], count: int | None = None) -> DecodedImages:
        """All of them, or `count` spread over the classes, in one size."""
        chosen = self.source if count is None else choose_evenly(self.source, count, seed=0)
        return decode_once(chosen, size)


@dataclass(frozen=True)
class AnswerDifference:
    """Two groups on the same images, over the seeds that both have.

    Attributes:
        first: Name of a group.
        second: Of another.
        seeds: That both have.
        interval: Of the difference of their accuracies, by a bootstrap of the images: how far other images would have
            moved it, for these very models.
        tests: For each seed, McNemar's test of the two models.
    """

    first: str
    second: str
    seeds: tuple[int, ...]
    interval: Interval
    tests: tuple[McNemar, ...]


def open_test(runs: Sequence[ComparedRun], data: str | None) -> TestImages:
    """The test images of some runs, or those that `data` names.

    Raises:
        ValueError: If they cannot be told or are not as recorded; or the classes are others.
        FileNotFoundError: If they are not there.
    """
    spec, split = place_of(runs[0].data.get("test"))
    recorded = runs[0].data.get("test_fingerprint")
    if data is None and spec is None:
        raise ValueError("the runs do not say where their test images are")
    source = opened(data or str(spec), split, is_sure=data is None)
    classes = tuple(runs[0].history.card.get("classes") or ())
    if tuple(source.classes) != classes:
        raise ValueError(
            f"test images must have the classes of the runs ({', '.join(classes[:3])}, ...), but {source.name} has "
            f"{', '.join(list(source.classes)[:3]) or 'none'}; name others with --data."
        )
    is_recorded = recorded is not None and source.fingerprint.startswith(str(recorded))
    if data is None and recorded is not None and not is_recorded:
        raise ValueError(f"{source.name} no longer holds the images that the runs were measured on")
    return TestImages(source, data or str(spec), is_recorded)


def answer(
    groups: Sequence[Group], test: TestImages, count: int | None
) -> tuple[dict[Path, Bool[np.ndarray, " image"]], list[str]]:
    """Which images every finished run names rightly, and what is strange about it."""
    runs = [run for group in groups for run in group.finished]
    notes, right = [], {}
    with progress("answers", len(runs)) as advance:
        for run in runs:
            right[run.folder] = correct(run, test, count)
            advance(1)
            said, now = run.history.accuracy("test"), float(right[run.folder].mean())
            if test.is_recorded and count is None and said is not None and abs(said - now) > TOLERANCE:
                notes.append(
                    f"{run.folder} recorded an accuracy of {100 * said:.2f} %, but its model names "
                    f"{100 * now:.2f} % of the same images rightly"
                )
    return right, notes


@torch.inference_mode()
def correct(run: ComparedRun, test: TestImages, count: int | None) -> Bool[np.ndarray, " image"]:
    """Whether the model of a run is right, image by image."""
    specimen = load_run(run.folder)
    images = test.decoded(specimen.image_size, count)
    found = [
        (specimen.predict(pixels).argmax(dim=1) == labels).numpy()
        for pixels, labels, _ in images.batches(BATCH)
    ]
    return np.concatenate(found)


def compare_answers(
    groups: Sequence[Group], right: Mapping[Path, Bool[np.ndarray, " image"]]
) -> tuple[AnswerDifference, ...]:
    """Every two groups that have a finished seed in common."""
    found = []
    for place, first in enumerate(groups):
        for second in groups[place + 1 :]:
            ours, theirs = _by_seed(first, right), _by_seed(second, right)
            seeds = tuple(sorted(ours.keys() & theirs.keys()))
            if not seeds:
                continue
            interval = paired_bootstrap(_mean(ours, seeds), _mean(theirs, seeds))
            tests = tuple(mcnemar(ours[seed], theirs[seed]) for seed in seeds)
            found.append(AnswerDifference(first.name, second.name, seeds, interval, tests))
    return tuple(found)


def _by_seed(group: Group, right: Mapping[Path, Bool[np.ndarray, " image"]]) -> dict[int, np.ndarray]:
    return {run.seed: right[run.folder] for run in group.finished if run.folder in right}


def _mean(right: Mapping[int, np.ndarray], seeds: Sequence[int]) -> Float[np.ndarray, " image"]:
    return np.stack([right[seed] for seed in seeds]).mean(axis=0, dtype=np.float64)
