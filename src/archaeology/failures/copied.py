"""Is a model right more often on images that have a copy than on others of the same label?

Copies of one image are answered alike, so each group of copies counts once, and images left out for that are not among
the others either. Exact within classes, where gatherings take a normal approximation: copies may be few.
"""

from dataclasses import dataclass

import numpy as np

from archaeology.core.intervals import Interval, newcombe
from archaeology.failures.duplicates import Duplicates
from archaeology.failures.gatherings import Labels, Right, share_right, within_labels

FEWEST_COPIES = 10  # groups of copies, and images without one in their classes; with fewer nothing is asked


@dataclass(frozen=True, eq=False)
class RightOnCopies:
    """Whether one model is right more or less often on images with a copy.

    Attributes:
        model: Its name.
        copied: Share right of the images with a copy, one of each group.
        others: Of the images without one, in the same classes.
        difference: The first less the second.
        p_value: That being right has nothing to do with having a copy, within classes; two-sided.
        p_corrected: Among all questions (Holm).
    """

    model: str
    copied: Interval
    others: Interval
    difference: Interval
    p_value: float
    p_corrected: float = 1.0


def right_on_copies(model: str, found: Duplicates, labels: Labels, right: Right) -> RightOnCopies | None:
    """What one model makes of copies; None where there are too few of them, or too few others of their classes."""
    inside, alone = np.zeros((2, len(labels)), dtype=bool)
    inside[found.one_of_each] = True
    alone[np.isin(labels, labels[inside])] = True
    alone[found.everywhere] = False
    if min(inside.sum(), alone.sum()) < FEWEST_COPIES:
        return None
    hits, other_hits = int(right[inside].sum()), int(right[alone].sum())
    asked = inside | alone
    less, more = (within_labels(kind[asked], inside[asked], labels[asked]) for kind in (right, ~right))
    return RightOnCopies(
        model=model,
        copied=share_right(right[inside]),
        others=share_right(right[alone]),
        difference=newcombe(hits, int(inside.sum()), other_hits, int(alone.sum())),
        p_value=min(1.0, 2 * min(less, more)),
    )
