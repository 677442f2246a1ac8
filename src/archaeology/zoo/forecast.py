"""How long it will take, from what was measured at shorter lengths; what would take too long is skipped by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

GROWTH = (1.0, 2.2)  # exponents between which cost may grow from one length to the next
FIRST_GUESS = 2.0  # with only one length known
SHARE_OF_MEMORY = 0.7  # of what is available, that a step may take


@dataclass(frozen=True)
class Skip:
    """A mechanism at a length that is not measured, why, and whether longer ones are not either."""

    mechanism: str
    length: int
    reason: str
    and_beyond: bool = True


def expected(known: Mapping[int, float], length: int) -> float | None:
    """The cost at `length`, going on as it grew between the two longest lengths known; None if none is."""
    if length in known:
        return known[length]
    shorter = sorted(seen for seen in known if seen < length)
    if not shorter:
        return None
    last = shorter[-1]
    exponent = FIRST_GUESS
    if len(shorter) > 1 and min(known[last], known[shorter[-2]]) > 0:
        before = shorter[-2]
        exponent = math.log(known[last] / known[before]) / math.log(last / before)
        exponent = min(max(exponent, GROWTH[0]), GROWTH[1])
    return known[last] * (length / last) ** exponent


def too_costly(
    seconds: float | None, mebibytes: float | None, *, patience: float, available: float | None
) -> str | None:
    """Why a step is not to be tried; None if it may."""
    if seconds is not None and seconds > patience:
        return f"a step would take about {seconds:.0f} s, more than --patience {patience:g}"
    if mebibytes is not None and available is not None and mebibytes > SHARE_OF_MEMORY * available:
        return f"a step would need about {mebibytes / 1024:.1f} of {available / 1024:.1f} GiB of memory"
    return None


def duration(seconds: float) -> str:
    """A time in words: "40 s", "7 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
