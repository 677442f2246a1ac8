"""Which of the runs that are compared differ by their seed alone, and whether all can be compared at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archaeology.diagnose.comparison_runs import ComparedRun, read_run


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone.

    Attributes:
        name: The recipe, and what tells it from others of the same recipe.
        runs: By seed, growing.
    """

    name: str
    runs: tuple[ComparedRun, ...]

    @property
    def finished(self) -> tuple[ComparedRun, ...]:
        """Those with a final accuracy."""
        return tuple(run for run in self.runs if run.final is not None)

    @property
    def finals(self) -> dict[int, float]:
        """Final accuracy by seed."""
        return {run.seed: run.final.value for run in self.runs if run.final is not None}


def read_groups(folders: Sequence[Path]) -> tuple[Group, ...]:
    """Read runs and put together those that differ by their seed alone, in the order given.

    Raises:
        FileNotFoundError: If a folder holds no training.
        ValueError: If a run is none of images, has not ended an epoch, or is named twice; if they were measured on
            different test images; or if two have the same recipe and seed.
    """
    if not folders:
        raise ValueError(
            "at least one run must be named; give the folders of `archaeology train RECIPE --out`."
        )
    places = [folder.resolve() for folder in folders]
    twice = [str(folder) for folder, place in zip(folders, places, strict=True) if places.count(place) > 1]
    if twice:
        raise ValueError(f"every run must be named once, but {', '.join(twice)} are the same; leave one out.")
    runs = [read_run(folder) for folder in folders]
    check_tests(runs)
    groups = named(grouped(runs))
    for group in groups:
        seeds = [run.seed for run in group.runs]
        same = [str(run.folder) for run in group.runs if seeds.count(run.seed) > 1]
        if same:
            raise ValueError(
                f"runs of one recipe must differ by their seed, but {', '.join(same)} have the same; leave one out."
            )
    return groups


def check_tests(runs: Sequence[ComparedRun]) -> None:
    """Raise unless all were measured on the same test images.

    Raises:
        ValueError: Naming two that were not.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.test != first.test:
            raise ValueError(
                "accuracies can be compared on the same test images only, but "
                f"{first.folder} was measured on {_test_words(first)} and {run.folder} on {_test_words(run)}; "
                "compare them apart."
            )


def _test_words(run: ComparedRun) -> str:
    name, mark = run.data.get("test", "images it does not name"), run.data.get("test_fingerprint")
    return f"{name} of {len(run.test[1])} classes" + (f" [{mark}]" if mark else "")


def grouped(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Runs whose settings agree; one that is not finished, and so does not say all, joins the only group that fits."""
    groups: list[list[ComparedRun]] = []
    for run in sorted(runs, key=lambda run: not run.history.config):
        fitting = [group for group in groups if _agree(group[0].setting, run.setting)]
        if len(fitting) == 1:
            fitting[0].append(run)
        else:
            groups.append([run])
    order = {run.folder: number for number, run in enumerate(runs)}
    return sorted(groups, key=lambda group: min(order[run.folder] for run in group))


def _agree(whole: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return all(whole[name] == value if name in whole else value is None for name, value in part.items())


def named(groups: Sequence[Sequence[ComparedRun]]) -> tuple[Group, ...]:
    """Names that tell groups apart: the recipe and, where that is not enough, what is set otherwise."""
    recipes = [group[0].recipe for group in groups]
    found = []
    for group, recipe in zip(groups, recipes, strict=True):
        rivals = [other[0].setting for other in groups if other[0].recipe == recipe]
        names = dict.fromkeys(name for setting in rivals for name in setting)
        told = [name for name in names if any(s.get(name) != rivals[0].get(name) for s in rivals)]
        said = ", ".join(f"{name.replace('_', ' ')} {_value(group[0].setting.get(name))}" for name in told)
        label = f"{recipe} ({said})" if said else recipe
        found.append(Group(label, tuple(sorted(group, key=lambda run: run.seed))))
    return tuple(found)


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
