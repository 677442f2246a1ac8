"""How far two rows lie apart, by the definition: loops over keys."""

import math


def jensen_shannon(first, second):
    """Mean of the two Kullback-Leibler divergences from the middle, in nats; rows are divided by their sums."""
    result = 0.0
    for one, other in zip(first, second, strict=True):
        p, q = one / sum(first), other / sum(second)
        middle = (p + q) / 2
        result += p * math.log(p / middle) / 2 if p > 0 else 0.0
        result += q * math.log(q / middle) / 2 if q > 0 else 0.0
    return result


def mean(values):
    return sum(values) / len(values)


def relative_change(before, after):
    """Length of the difference of two lists over the length of the first."""
    apart = sum((one - other) ** 2 for one, other in zip(before, after, strict=True))
    return math.sqrt(apart) / math.sqrt(sum(one**2 for one in before))
