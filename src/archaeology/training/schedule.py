"""Learning rates as functions of progress, so that a training cut short by the clock still ends annealed."""

import math
from collections.abc import Sequence


def progress_of(step: int, total_steps: int, elapsed: float, budget: float | None) -> float:
    """How much of the training is over, 0 to 1: by steps or by the clock, whichever is further."""
    by_clock = elapsed / budget if budget else 0.0
    return min(1.0, max(step / total_steps, by_clock))


def rate_factor(progress: float, *, schedule: str, warmup: float) -> float:
    """What to multiply the learning rate by at this progress: a linear rise, then the schedule down to zero.

    Raises:
        ValueError: If the schedule is unknown.
    """
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1 - warmup)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - rest
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    raise ValueError(f"schedule must be linear, cosine or constant, but got {schedule!r}.")


def stage_value(progress: float, stages: Sequence[tuple[float, float]], default: float = 1.0) -> float:
    """The value of the last stage that has begun; `stages` are (begins at this progress, value) in order."""
    begun = [value for start, value in stages if progress >= start]
    return begun[-1] if begun else default
