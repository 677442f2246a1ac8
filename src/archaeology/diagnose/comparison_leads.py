"""Who is ahead at what: accurate at the end, first at a level, cheap per epoch, good with few examples."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from archaeology.core.intervals import Interval
from archaeology.diagnose.comparison_groups import Group
from archaeology.diagnose.comparison_levels import Crossing, Reach
from archaeology.diagnose.comparison_runs import ComparedRun
from archaeology.diagnose.comparison_statistics import Difference, paired_difference, student

Task = Literal["end", "level", "pace", "examples"]


@dataclass(frozen=True)
class Lead:
    """Who is best at something, and by how much over each other.

    Attributes:
        task: "end" (final accuracy), "level" (seconds to an accuracy), "pace" (seconds per epoch) or "examples"
            (accuracy after the fewest examples at which all were measured).
        at: The level, or the number of examples; NaN where it means nothing.
        leader: The group with the best mean.
        values: The mean of every group that takes part.
        margins: Of the leader over each other that shares a seed with it, above zero where the leader is better.
        unpaired: Others, that share none.
    """

    task: Task
    at: float
    leader: str
    values: Mapping[str, float]
    margins: tuple[Difference, ...]
    unpaired: tuple[str, ...]

    @property
    def is_clear(self) -> bool:
        """Whether the leader's whole interval lies above zero against every other."""
        return bool(self.margins) and not self.unpaired and all(margin.is_above for margin in self.margins)


def lead(
    task: Task, numbers: Mapping[str, Mapping[int, float]], *, least: bool = False, at: float = math.nan
) -> Lead | None:
    """The best of some groups by their numbers; None for fewer than two groups.

    Args:
        task: What the numbers are.
        numbers: By group and seed; groups without any are left out.
        least: Whether a small number is good.
        at: As in `Lead`.
    """
    known = {name: values for name, values in numbers.items() if values}
    if len(known) < 2:
        return None
    means = {name: float(np.mean(list(values.values()))) for name, values in known.items()}
    sign = -1.0 if least else 1.0
    leader = max(means, key=lambda name: sign * means[name])
    signed = {name: {seed: sign * value for seed, value in values.items()} for name, values in known.items()}
    margins = [
        paired_difference(leader, name, signed[leader], signed[name]) for name in known if name != leader
    ]
    paired = tuple(margin for margin in margins if margin is not None)
    met = {margin.second for margin in paired}
    return Lead(task, at, leader, means, paired, tuple(n for n in known if n != leader and n not in met))


def find_leads(groups: Sequence[Group], reached: Sequence[Reach]) -> tuple[Lead, ...]:
    """Everything that can be said of who is ahead."""
    pace = {group.name: {run.seed: run.seconds_per_epoch for run in group.runs} for group in groups}
    found = (
        lead("end", {group.name: group.finals for group in groups}),
        level_lead(reached),
        lead("pace", pace, least=True),
        example_lead(groups),
    )
    return tuple(each for each in found if each is not None)


def example_lead(groups: Sequence[Group]) -> Lead | None:
    """Accuracy after as many examples as the last of all runs had seen when it was first measured."""
    fewest = max(run.points[0].examples for group in groups for run in group.runs)
    shared = {
        group.name: {
            run.seed: accuracy_after(run, fewest) for run in group.runs if run.points[-1].examples >= fewest
        }
        for group in groups
    }
    return lead("examples", shared, at=float(fewest))


def accuracy_after(run: ComparedRun, examples: int) -> float:
    """Accuracy when so many examples were seen, on the line between two measurements."""
    return float(
        np.interp(
            examples,
            [float(point.examples) for point in run.points],
            [point.accuracy for point in run.points],
        )
    )


def level_lead(reached: Sequence[Reach]) -> Lead | None:
    """Seconds to the highest level that all runs of two groups reach.

    Accuracy is measured once an epoch, so a run came there at some time between two measurements: the interval goes
    from Student's lower end for the latest time of the leader and the earliest of the other to its upper end the other
    way round.
    """
    levels = [each.level for each in reached if each.is_by_all]
    shared = [level for level in levels if levels.count(level) > 1]
    if not shared:
        return None
    taking_part = {each.group: each for each in reached if each.is_by_all and each.level == max(shared)}
    numbers = {name: _seconds(each, _at) for name, each in taking_part.items()}
    found = lead("level", numbers, least=True, at=max(shared))
    assert found is not None
    margins = tuple(
        _with_resolution(margin, taking_part[margin.first], taking_part[margin.second])
        for margin in found.margins
    )
    return replace(found, margins=margins)


def _seconds(each: Reach, when: Callable[[Crossing], float]) -> dict[int, float]:
    return {crossing.seed: when(crossing) for crossing in each.crossings}


def _at(crossing: Crossing) -> float:
    return crossing.at.seconds


def _before(crossing: Crossing) -> float:
    return 0.0 if crossing.before is None else crossing.before.seconds


def _with_resolution(margin: Difference, leader: Reach, other: Reach) -> Difference:
    def saved(theirs: Callable[[Crossing], float], ours: Callable[[Crossing], float]) -> Interval:
        late, soon = _seconds(other, theirs), _seconds(leader, ours)
        return student([late[seed] - soon[seed] for seed in margin.seeds])

    least, most = saved(_before, _at), saved(_at, _before)
    interval = replace(
        margin.interval, value=saved(_at, _at).value, low=least.low, high=most.high, method=least.method
    )
    return replace(margin, interval=interval)
