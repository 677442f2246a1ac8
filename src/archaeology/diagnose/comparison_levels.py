"""How long and how many examples it took until a level of accuracy was first measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archaeology.diagnose.comparison_groups import Group
from archaeology.diagnose.comparison_runs import ComparedRun, Point

MOST_LEVELS = 5


@dataclass(frozen=True)
class Crossing:
    """When a run was first measured at or above a level.

    Attributes:
        seed: Of the run.
        before: The measurement before: until then it had not been there; None if the first was already.
        at: The measurement.
    """

    seed: int
    before: Point | None
    at: Point


@dataclass(frozen=True)
class Reach:
    """What the runs of a group needed to a level.

    Attributes:
        group: Its name.
        level: Accuracy, in [0, 1].
        crossings: Of the runs that came there.
        num_runs: How many there are.
    """

    group: str
    level: float
    crossings: tuple[Crossing, ...]
    num_runs: int

    @property
    def is_by_all(self) -> bool:
        """Whether every run came there."""
        return len(self.crossings) == self.num_runs

    @property
    def seconds(self) -> float:
        """Median of those that came there; NaN for none."""
        return _median([crossing.at.seconds for crossing in self.crossings])

    @property
    def examples(self) -> float:
        """Likewise."""
        return _median([float(crossing.at.examples) for crossing in self.crossings])

    @property
    def epochs(self) -> float:
        """Likewise."""
        return _median([crossing.at.epoch for crossing in self.crossings])


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else math.nan


def crossing(run: ComparedRun, level: float) -> Crossing | None:
    """The first measurement at or above `level`; None if there is none."""
    for place, point in enumerate(run.points):
        if point.accuracy >= level:
            return Crossing(run.seed, run.points[place - 1] if place else None, point)
    return None


def reach(group: Group, level: float) -> Reach:
    """What a group needed to a level."""
    found = [crossing(run, level) for run in group.runs]
    return Reach(group.name, level, tuple(each for each in found if each is not None), len(group.runs))


def choose_levels(groups: Sequence[Group]) -> tuple[float, ...]:
    """Round levels that tell the runs apart, growing, five at most.

    The highest that somebody reaches is among them, and the highest that all do. They are
    multiples of five percent, or of one percent where no other lies within the curves.
    """
    runs = [run for group in groups for run in group.runs]
    best = [max(point.accuracy for point in run.points) for run in runs]
    first = min(run.points[0].accuracy for run in runs)
    for percent in (5, 1):
        steps = range(percent, 101, percent)
        some = [step for step in steps if first < step / 100 <= max(best)]
        if some:
            break
    else:
        return ()
    by_all = [step for step in some if step / 100 <= min(best)]
    chosen = {some[-1], *by_all[-1:]}
    rest = [step for step in some if step not in chosen]
    places = np.linspace(0, len(rest) - 1, min(len(rest), MOST_LEVELS - len(chosen))).round().astype(int)
    return tuple(sorted(step / 100 for step in {*chosen, *(rest[place] for place in places.tolist())}))


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels in order.

    Raises:
        ValueError: If one does not lie between 0 and 1.
    """
    wrong = [level for level in levels if not 0 < level <= 1]
    if wrong:
        raise ValueError(
            f"--levels are shares of the test images above 0 and at most 1, such as 0.75, but got {wrong[0]:g}."
        )
    return tuple(sorted(set(levels)))
