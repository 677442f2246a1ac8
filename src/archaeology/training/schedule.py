"""Learning rates as functions of progress, so that a training cut short by the clock still ends annealed."""

import math
from collections.abc import Callable, Sequence

PEAK = 0.3  # share of a one-cycle training spent rising
START, END = (
    1 / 25,
    1e-4 / 25,
)  # of its full rate (`smith2019super`, with the usual values of fastai and PyTorch)


def progress_of(step: int, total_steps: int, elapsed: float, budget: float | None) -> float:
    """How much of the training is over, 0 to 1: by steps or by the clock, whichever is further."""
    by_clock = elapsed / budget if budget else 0.0
    return min(1.0, max(step / total_steps, by_clock))


def _between(first: float, last: float, share: float) -> float:
    """From `first` to `last` along half a cosine."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))


def _one_cycle(progress: float) -> float:
    if progress < PEAK:
        return _between(START, 1.0, progress / PEAK)
    return _between(1.0, END, (progress - PEAK) / (1 - PEAK))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda rest: 1.0 - rest,
    "cosine": lambda rest: _between(1.0, 0.0, rest),
    "constant": lambda rest: 1.0,
}


def rate_factor(progress: float, *, schedule: str, warmup: float) -> float:
    """What to multiply the learning rate by at this progress: a linear rise, then the schedule down to zero.

    "one_cycle" rises and falls by itself, so it takes no warm-up.

    Raises:
        ValueError: If the schedule is unknown.
    """
    if schedule == "one_cycle":
        return _one_cycle(progress)
    if schedule not in SCHEDULES:
        names = ", ".join((*SCHEDULES, "one_cycle"))
        raise ValueError(f"schedule must be one of {names}, but got {schedule!r}.")
    if progress < warmup:
        return progress / warmup
    return SCHEDULES[schedule]((progress - warmup) / (1 - warmup))


def stage_value(progress: float, stages: Sequence[tuple[float, float]], default: float = 1.0) -> float:
    """The value of the last stage that has begun; `stages` are (begins at this progress, value) in order."""
    begun = [value for start, value in stages if progress >= start]
    return begun[-1] if begun else default
