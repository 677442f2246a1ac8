"""What would take too long or too much memory is not tried, and the message says what would fit."""

import math
from dataclasses import dataclass

SHARE_OF_MEMORY = 0.7  # of what is available, that a forward pass may take


@dataclass(frozen=True)
class Known:
    """What passes through a model took so far.

    Attributes:
        seconds: Of one image, in the largest batch seen.
        fixed_mebibytes: Memory that does not depend on the batch; 0 where it is not known.
        mebibytes: Of each image more; 0 where it is not known.
    """

    seconds: float
    fixed_mebibytes: float = 0.0
    mebibytes: float = 0.0


def too_much(batch: int, known: Known, *, patience: float, available: float | None) -> str | None:
    """Why a batch is not to be tried; None if it may.

    Args:
        batch: Images.
        known: What smaller batches took.
        patience: Seconds that a forward pass may take.
        available: Mebibytes; None where nobody says.
    """
    needed = known.fixed_mebibytes + known.mebibytes * batch
    if available is not None and needed > SHARE_OF_MEMORY * available:
        room = SHARE_OF_MEMORY * available - known.fixed_mebibytes
        fits = max(0, math.floor(room / known.mebibytes)) if known.mebibytes else 0
        return (
            f"a batch of {batch:,} would need about {_gibibytes(needed)} of {_gibibytes(available)} GiB of memory; "
            f"{_advice(fits)}"
        )
    if known.seconds * batch > patience:
        fits = math.floor(patience / known.seconds)
        return (
            f"a batch of {batch:,} would take about {known.seconds * batch:.0f} s, more than --patience {patience:g}; "
            f"{_advice(fits)}"
        )
    return None


def _advice(fits: int) -> str:
    return f"--batch-sizes up to {fits:,} fit" if fits else "not even one image fits"


def _gibibytes(mebibytes: float) -> str:
    return f"{mebibytes / 1024:,.1f}"


def duration(seconds: float) -> str:
    """A time in words: "40 s", "7 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
