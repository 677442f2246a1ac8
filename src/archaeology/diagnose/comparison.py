"""Trainings side by side: how accurate, how soon, how surely; what fine-tuning did to attention; numbers and words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from archaeology.core.intervals import Interval
from archaeology.diagnose.comparison_answers import (
    AnswerDifference,
    TestImages,
    answer,
    compare_answers,
    open_test,
)
from archaeology.diagnose.comparison_attention import AttentionChange, attention_changes
from archaeology.diagnose.comparison_groups import Group, read_groups
from archaeology.diagnose.comparison_leads import Lead, find_leads
from archaeology.diagnose.comparison_levels import Reach, check_levels, choose_levels, reach
from archaeology.diagnose.comparison_statistics import Difference, paired_difference, student
from archaeology.diagnose.comparison_words import findings

ATTENTION_IMAGES = 64


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that is known of some trainings beside each other.

    Attributes:
        groups: Runs that differ by their seed alone, as they were given.
        levels: Of accuracy, in [0, 1], growing.
        reached: What each group needed to each level, group by group.
        differences: Of final accuracies between every two groups that have a finished seed in common.
        leads: Who is best at what.
        answers: Every two groups on the same images; empty where no model was run.
        attention: What those that started from a specimen did to its attention; likewise.
        notes: What could not be looked at and why, and what must be kept in mind.
    """

    groups: tuple[Group, ...]
    levels: tuple[float, ...]
    reached: tuple[Reach, ...]
    differences: tuple[Difference, ...]
    leads: tuple[Lead, ...]
    answers: tuple[AnswerDifference, ...]
    attention: tuple[AttentionChange, ...]
    notes: tuple[str, ...]

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """What all this shows, in sentences."""
        return findings(self.groups, self.reached, self.leads, self.answers, self.attention)

    def mean(self, group: Group) -> Interval | None:
        """Mean final accuracy over the seeds with Student's interval; None before one has finished."""
        return student(list(group.finals.values())) if group.finals else None

    def numbers(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "recipes": [self._numbers_of(group) for group in self.groups],
            "levels": [
                {
                    "recipe": each.group,
                    "level": each.level,
                    "runs": each.num_runs,
                    "reached": [asdict(crossing) for crossing in each.crossings],
                    "median": {
                        "seconds": each.seconds,
                        "examples": each.examples,
                        "epochs": each.epochs,
                    },
                }
                for each in self.reached
            ],
            "differences": [asdict(difference) for difference in self.differences],
            "leads": [{**asdict(lead), "is_clear": lead.is_clear} for lead in self.leads],
            "same_images": [asdict(difference) for difference in self.answers],
            "attention": [_attention_numbers(change) for change in self.attention],
            "findings": list(self.findings),
            "notes": list(self.notes),
        }

    def _numbers_of(self, group: Group) -> dict[str, Any]:
        mean = self.mean(group)
        return {
            "recipe": group.name,
            "accuracy": None if mean is None else asdict(mean),
            "runs": [
                {
                    "folder": str(run.folder),
                    "seed": run.seed,
                    "state": run.history.state,
                    "accuracy": None if run.final is None else asdict(run.final),
                    "seconds_per_epoch": run.seconds_per_epoch,
                    "points": [asdict(point) for point in run.points],
                }
                for run in group.runs
            ],
        }


def _attention_numbers(change: AttentionChange) -> dict[str, Any]:
    def plain(found: Any) -> dict[str, Any]:
        return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}

    return {
        "recipe": change.group,
        "origin": change.origin,
        "seeds": change.seeds,
        "images": change.num_images,
        "grid": change.grid,
        "divergence": plain(change.overall),
        "between_images": plain(change.usual),
        "layers": [
            {"module": layer.module, **{name: plain(found) for name, found in layer.heads.items()}}
            for layer in change.layers
        ],
    }


def compare(
    folders: Sequence[Path],
    *,
    data: str | None = None,
    levels: Sequence[float] = (),
    count: int | None = None,
    attention_images: int = ATTENTION_IMAGES,
    run_models: bool = True,
) -> Comparison:
    """Put trainings beside each other.

    Args:
        folders: What `archaeology train` wrote or is writing, of recipes of images.
        data: Test images to run finished models on, as for `archaeology dig --data`; None for those that the runs
            name, and none where they are not found.
        levels: Accuracies whose time is asked for; none for round ones that tell the runs apart.
        count: How many test images the models answer; None for all.
        attention_images: How many of them attention before and after is compared on.
        run_models: Whether models are run at all; else only what the runs wrote down is compared.

    Raises:
        FileNotFoundError: If a folder holds no training.
        ValueError: If the runs cannot be compared (see `read_groups`), or `data` does not fit them.
    """
    asked = check_levels(levels)
    groups = read_groups(folders)
    chosen = asked or choose_levels(groups)
    reached = tuple(reach(group, level) for group in groups for level in chosen)
    pairs = [(a, b) for place, a in enumerate(groups) for b in groups[place + 1 :]]
    differences = [paired_difference(a.name, b.name, a.finals, b.finals) for a, b in pairs]
    answers, attention, notes = (
        _models(groups, data, count, attention_images)
        if run_models
        else ((), (), ["no model was run, as asked: the same images and attention were not looked at"])
    )
    return Comparison(
        groups=groups,
        levels=chosen,
        reached=reached,
        differences=tuple(difference for difference in differences if difference is not None),
        leads=find_leads(groups, reached),
        answers=answers,
        attention=attention,
        notes=(*keep_in_mind(groups), *notes),
    )


def _models(
    groups: Sequence[Group], data: str | None, count: int | None, attention_images: int
) -> tuple[tuple[AnswerDifference, ...], tuple[AttentionChange, ...], list[str]]:
    """What finished models say of the same images and where they look."""
    runs = [run for group in groups for run in group.finished]
    can_pair = sum(1 for group in groups if group.finished) > 1
    if not runs or not (can_pair or any(run.origin for run in runs)):
        return (), (), []
    try:
        test = open_test(runs, data)
    except (ValueError, OSError, ImportError) as error:
        if data is not None:
            raise
        return (), (), [f"no model was run on the test images ({error}); name them with --data"]
    answers: tuple[AnswerDifference, ...] = ()
    notes: list[str] = []
    if can_pair:
        right, strange = answer(groups, test, count)
        answers = compare_answers(groups, right)
        notes = [*_of_test(test, count), *strange]
    attention, why_not = attention_changes(groups, test, attention_images)
    return answers, attention, [*notes, *why_not]


def _of_test(test: TestImages, count: int | None) -> list[str]:
    name = f"{test.source.name} {test.source.split or ''}".rstrip()
    which = "all" if count is None or count >= len(test.source) else f"{count:,} of"
    told = f"models were run on {which} {len(test.source):,} images of {name}"
    return [
        told if test.is_recorded else f"{told}, which are not known to be those the runs were measured on"
    ]


def keep_in_mind(groups: Sequence[Group]) -> list[str]:
    """What a reader must know of the runs: which have not finished, and whose times do not compare."""
    runs = [run for group in groups for run in group.runs]
    notes = [
        f"{run.folder} has not finished ({run.history.state}, {run.points[-1].epoch:.1f} epochs): "
        "its curve is shown, but it has no final accuracy"
        for run in runs
        if run.final is None
    ]
    places = {
        (
            str(run.history.record.get("machine")),
            run.history.config.get("threads"),
            run.history.config.get("device"),
        )
        for run in runs
        if run.final is not None
    }
    if len(places) > 1:
        notes.append(
            "wall times are of different machines, devices or numbers of threads: examples compare better"
        )
    return notes
