"""When one model may be said to withstand surely more than another: a rule that figures and findings share.

An interval away from zero is not enough where it has no width (nothing varied, which is no proof), and below sixteen
images nobody should be told what is sure, whatever the arithmetic says.
"""

import math

FEWEST = 16  # images


def sure_side(low: float, high: float, n: int) -> int:
    """1 or -1 where a difference surely lies above or below zero, else 0.

    Args:
        low: Lower end of its interval; NaN tells nothing.
        high: Upper end.
        n: Images it was measured on.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or n < FEWEST:
        return 0
    return int(low > 0) - int(high < 0)
