"""An interval as entries of a table's row."""

import math

from archaeology.core.intervals import Interval


def written(name: str, interval: Interval) -> dict[str, object]:
    """`name`, `name_low` and `name_high`; None where a number is not defined."""
    ends = {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {key: value if math.isfinite(value) else None for key, value in ends.items()}
