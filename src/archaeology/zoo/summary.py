"""What the rows say: medians, exponents with intervals, where dense attention loses its lead, errors and their cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np

from archaeology.core.intervals import Interval, bootstrap_mean
from archaeology.zoo.errors import MEAN
from archaeology.zoo.fit import Crossover, crossover, exponent, lengths_to_fit
from archaeology.zoo.measurements import Measurement
from archaeology.zoo.subject import DENSE, STEPS

QUANTITIES = ("seconds", "mebibytes")
LEAST_MEBIBYTES = 1.0  # less than this is lost in the noise of pages


@dataclass(frozen=True)
class Cost:
    """Medians over the rounds at each length.

    Attributes:
        mechanism: Its name.
        quantity: "seconds" or "mebibytes".
        step: "forward" or "forward+backward".
        lengths: Tokens, growing.
        medians: The cost at each.
        rounds: How many numbers are behind each, at least.
        exponent: Of length, with which it grows; None for fewer than two lengths that say anything.
        fitted: The lengths that the exponent is from.
    """

    mechanism: str
    quantity: str
    step: str
    lengths: list[int]
    medians: list[float]
    rounds: int
    exponent: Interval | None
    fitted: list[int]


@dataclass(frozen=True)
class Error:
    """Mean relative error over heads and inputs, and what it costs to get it.

    Attributes:
        mechanism: Its name, or that of the yardstick.
        length: Tokens.
        input: "structured" or "random".
        score_std: Standard deviation of the scores.
        error: Relative error; 0 is exact.
        relative_time: Of forward and backward, against dense attention; None where one of them was not timed.
    """

    mechanism: str
    length: int
    input: str
    score_std: float
    error: Interval
    relative_time: float | None


@dataclass(frozen=True)
class Summary:
    """All of it."""

    costs: list[Cost]
    crossovers: dict[str, dict[str, Crossover]]  # by mechanism and step
    errors: list[Error]


def summarise(rows: Iterable[Measurement], names: list[str], lengths: list[int]) -> Summary:
    """The summary of the rows of these mechanisms at these lengths."""
    kept = [row for row in rows if row.mechanism in (*names, MEAN) and row.length in lengths]
    costs = [
        cost
        for name in names
        for quantity in QUANTITIES
        for step in STEPS
        if (cost := _cost(kept, name, quantity, step)) is not None
    ]
    times = {
        (cost.mechanism, cost.step): dict(zip(cost.lengths, cost.medians, strict=True))
        for cost in costs
        if cost.quantity == "seconds"
    }
    crossovers: dict[str, dict[str, Crossover]] = {name: {} for name in names if name != DENSE}
    for (name, step), found in times.items():
        passed = crossover(times.get((DENSE, step), {}), found) if name != DENSE else None
        if passed is not None:
            crossovers[name][step] = passed
    return Summary(costs, crossovers, _errors(kept, times))


def _cost(rows: list[Measurement], name: str, quantity: str, step: str) -> Cost | None:
    by_length: dict[int, list[float]] = {}
    for row in rows:
        if (row.mechanism, row.quantity, row.step) == (name, quantity, step):
            by_length.setdefault(row.length, []).append(row.value)
    if not by_length:
        return None
    lengths = sorted(by_length)
    medians = {length: median(by_length[length]) for length in lengths}
    least = LEAST_MEBIBYTES if quantity == "mebibytes" else 0.0
    fitted = lengths_to_fit([length for length in lengths if medians[length] > least])
    return Cost(
        mechanism=name,
        quantity=quantity,
        step=step,
        lengths=lengths,
        medians=list(medians.values()),
        rounds=min(map(len, by_length.values())),
        exponent=exponent(fitted, [medians[length] for length in fitted]) if len(fitted) > 1 else None,
        fitted=fitted,
    )


def _errors(rows: list[Measurement], times: dict[tuple[str, str], dict[int, float]]) -> list[Error]:
    found: dict[tuple[str, int, str, float], list[float]] = {}
    for row in rows:
        if row.quantity == "relative error":
            found.setdefault((row.mechanism, row.length, row.input, row.score_std), []).append(row.value)
    dense = times.get((DENSE, STEPS[1]), {})
    listed = []
    for (name, length, kind, score_std), values in found.items():
        own = times.get((name, STEPS[1]), {})
        ratio = own[length] / dense[length] if length in own and length in dense else None
        interval = bootstrap_mean(np.asarray(values))
        listed.append(Error(name, length, kind, score_std, interval, ratio))
    return listed
