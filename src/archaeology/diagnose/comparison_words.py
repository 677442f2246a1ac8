"""What a comparison shows, in sentences that never say more than the intervals behind them support."""

from collections.abc import Callable, Sequence

import numpy as np

from archaeology.core.bootstrap import Intervals
from archaeology.core.intervals import Interval
from archaeology.diagnose.comparison_answers import AnswerDifference
from archaeology.diagnose.comparison_attention import AttentionChange
from archaeology.diagnose.comparison_groups import Group
from archaeology.diagnose.comparison_leads import Lead, Task
from archaeology.diagnose.comparison_levels import Reach
from archaeology.diagnose.comparison_statistics import LEAST_SEEDS, STUDENT, TOO_FEW, Difference

UNCHANGED = 1e-6  # bits; less comes from rounding


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    size = abs(seconds)
    if size < 90:
        return f"{seconds:.1f} s" if size < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if size < 5400 else f"{seconds / 3600:.1f} h"


def percent(share: float) -> str:
    """A share in [0, 1] with a percent sign."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * share:.1f} points"


def findings(
    groups: Sequence[Group],
    reached: Sequence[Reach],
    leads: Sequence[Lead],
    answers: Sequence[AnswerDifference],
    attention: Sequence[AttentionChange],
) -> tuple[str, ...]:
    """All sentences: of each task, of each recipe, of the same images, of attention."""
    said = [of_lead(lead) for lead in leads]
    said += [sentence for sentence in (of_only(groups, reached),) if sentence]
    if any(margin.interval.method == STUDENT for lead in leads for margin in lead.margins):
        said += [of_group(group, leads) for group in groups]
    elif leads:
        said.append(
            f"What each recipe is good for cannot be said: no two have {LEAST_SEEDS} seeds in common whose "
            "differences vary; this compares runs."
        )
    said += [of_answers(difference) for difference in answers]
    return (*said, *(of_attention(change) for change in attention))


def of_lead(lead: Lead) -> str:
    """Who is best at one thing, or that it is not settled."""
    value = value_words(lead.task, lead.values[lead.leader])
    what = task_words(lead)
    over = "; ".join(
        f"{margin_words(lead.task, margin)} {VERBS[lead.task]} {margin.second}" for margin in lead.margins
    )
    if lead.is_clear:
        return f"{what}: {lead.leader}, {value} on average, {over}."
    lone = f"; no seed in common with {', '.join(lead.unpaired)}" if lead.unpaired else ""
    return f"{what} is not settled: {lead.leader} is ahead with {value}, {over}{lone}.".replace(", ;", ";")


VERBS: dict[Task, str] = {"end": "above", "level": "before", "pace": "less than", "examples": "above"}


def task_words(lead: Lead) -> str:
    """What is asked, as the beginning of a sentence."""
    words: dict[Task, str] = {
        "end": "Most accurate at the end",
        "level": f"First at {100 * lead.at:.0f} %",
        "pace": "Cheapest epoch",
        "examples": f"Most accurate after {lead.at:,.0f} examples",
    }
    return words[lead.task]


def value_words(task: Task, value: float) -> str:
    """A number of this task with its unit."""
    return duration(value) if task in ("level", "pace") else percent(value)


def margin_words(task: Task, margin: Difference) -> str:
    """A margin with its interval, or why it has none."""
    interval = margin.interval
    unit = duration if task in ("level", "pace") else points
    return f"{unit(interval.value)} ({support(margin, unit)})"


def support(margin: Difference, unit: Callable[[float], str]) -> str:
    """What a margin rests on."""
    seeds = f"{len(margin.seeds)} {'seed' if len(margin.seeds) == 1 else 'seeds'}"
    if margin.interval.method == STUDENT:
        return f"95 % interval {between(margin.interval, unit)}, {seeds} paired"
    if margin.interval.method == TOO_FEW:
        return f"{seeds} paired, fewer than the {LEAST_SEEDS} an interval needs"
    return f"{seeds} paired, all alike, so no interval"


def between(interval: Interval, unit: Callable[[float], str]) -> str:
    """Both ends, the unit said once where it is the same."""
    (low, first), (high, second) = (unit(end).split(" ") for end in (interval.low, interval.high))
    return f"{low} to {high} {second}" if first == second else f"{low} {first} to {high} {second}"


def of_only(groups: Sequence[Group], reached: Sequence[Reach]) -> str | None:
    """That one recipe alone reaches the highest level, if all its runs do, and all others have finished without."""
    if len(groups) < 2 or not reached:
        return None
    highest = max(each.level for each in reached)
    there = [each for each in reached if each.level == highest]
    alone = [each for each in there if each.crossings]
    finished = {group.name: len(group.finished) == len(group.runs) for group in groups}
    if len(alone) != 1 or not alone[0].is_by_all:
        return None
    others = [each for each in there if each.group != alone[0].group]
    if not all(finished[each.group] for each in others):
        return None
    counts = ", ".join(f"none of {each.num_runs} of {each.group}" for each in others)
    count = alone[0].num_runs
    return f"Only {alone[0].group} reaches {100 * highest:.0f} %: {count} of {count} runs, {counts}."


GOOD_FOR: dict[Task, str] = {
    "end": "accuracy at the end",
    "level": "getting to {level} soonest",
    "pace": "cheap epochs",
    "examples": "learning from few examples",
}


def of_group(group: Group, leads: Sequence[Lead]) -> str:
    """What a recipe is good for: where its lead is clear."""
    good = [
        GOOD_FOR[lead.task].format(level=f"{100 * lead.at:.0f} %")
        for lead in leads
        if lead.leader == group.name and lead.is_clear
    ]
    if good:
        return f"{group.name} is good for {', '.join(good)}."
    return f"{group.name} is surely ahead in nothing that was measured here."


def of_answers(found: AnswerDifference) -> str:
    """Two groups on the same images."""
    interval = found.interval
    p_values = ", ".join(f"{test.p_value:.2g}" for test in found.tests)
    seeds = f"McNemar's p {p_values} for seed {', '.join(map(str, found.seeds))}"
    rests_on = f"95 % interval over images {between(interval, points)}, {seeds}"
    images = f"On the same {interval.n:,} test images"
    if not interval.excludes(0.0):
        both = f"{found.first} and {found.second}"
        return f"{images} the models of {both} cannot be told apart ({points(interval.value)}; {rests_on})."
    ahead, behind = (found.first, found.second) if interval.value > 0 else (found.second, found.first)
    return (
        f"{images} the models of {ahead} name {points(abs(interval.value))} more rightly than those of {behind} "
        f"({found.first} minus {found.second}: {rests_on}); this is said of these models, not of others trained alike."
    )


def of_attention(change: AttentionChange) -> str:
    """How far attention went from where it started."""
    overall = float(change.overall.value)
    if overall < UNCHANGED:
        return f"{change.group} looks where {change.origin} looked: its attention is the same in every head."
    by_layer = [float(np.nanmean(layer.heads["divergence"].value)) for layer in change.layers]
    most, least = int(np.argmax(by_layer)), int(np.argmin(by_layer))
    said = (
        f"{change.group} moved its attention {overall:.3f} bits from that of {change.origin} (95 % interval over "
        f"{change.num_images} images {float(change.overall.low):.3f} to {float(change.overall.high):.3f})"
    )
    if np.isfinite(change.usual.value):
        said += f"; before, that of two images differed by {float(change.usual.value):.3f}"
    said += f"; most in layer {most + 1} ({by_layer[most]:.3f}), least in layer {least + 1} ({by_layer[least]:.3f})"
    spread, reach = (_moved(change, f"{what}_change") for what in ("entropy", "distance"))
    said += f". Wider attention in {spread[0]} of {spread[2]} heads, narrower in {spread[1]}"
    if reach[2]:
        said += f"; further away in {reach[0]}, nearer in {reach[1]}"
    return f"{said} (where the interval over images leaves no doubt; {change.grid})."


def _moved(change: AttentionChange, quantity: str) -> tuple[int, int, int]:
    """Heads surely up, surely down, and all that are known."""
    found: list[Intervals] = [layer.heads[quantity] for layer in change.layers]
    up = sum(int((each.low > 0).sum()) for each in found)
    down = sum(int((each.high < 0).sum()) for each in found)
    return up, down, sum(int(np.isfinite(each.value).sum()) for each in found)
