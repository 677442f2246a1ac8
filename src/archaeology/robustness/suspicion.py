"""One reason to doubt an attack, with its numbers: by how much it exceeds what is allowed, and whether by chance.

A number only speaks against a model if it is both large (above an allowance) and no accident (a test, corrected for
how many were made), so that an ordinary model is not accused by luck or by a difference that does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.many import corrected


@dataclass(frozen=True)
class Suspicion:
    """A question asked of the model, and the answer.

    Attributes:
        name: What was looked for.
        sentence: What was seen, in words and numbers.
        share: Of the images that speak for it, less those that speak against it.
        allowed: Share up to which it says nothing.
        n: How many images were looked at.
        p_value: Of seeing as much by chance, one-sided.
        p_corrected: The same, corrected (Holm) for all questions of the report.
        raised: Whether `share` exceeds what is allowed and `p_corrected` lies below the report's level.
    """

    name: str
    sentence: str
    share: float
    allowed: float
    n: int
    p_value: float
    p_corrected: float = 1.0
    raised: bool = False


def of_share(name: str, sentence: str, seen: Bool[np.ndarray, " image"], allowed: float) -> Suspicion:
    """More images than allowed do it: binomial test of the share against what is allowed.

    With nothing allowed, a single image is proof.
    """
    count, n = int(seen.sum()), len(seen)
    p_value = float(stats.binom.sf(count - 1, n, allowed))  # pyright: ignore[reportUnknownMemberType]
    return Suspicion(name, sentence, count / n, allowed, n, p_value)


def of_pairs(
    name: str,
    sentence: str,
    weak: Bool[np.ndarray, " image"],
    strong: Bool[np.ndarray, " image"],
    allowed: float,
) -> Suspicion:
    """What should be the weaker breaks more: one-sided sign test on images that only one of the two breaks.

    Args:
        name: Of the question.
        sentence: What the two are; how many only either breaks is added.
        weak: What ought to break no more.
        strong: What ought to break no less, same images.
        allowed: Share of images by which the weak one may still be ahead.
    """
    only_weak, only_strong = int((weak & ~strong).sum()), int((strong & ~weak).sum())
    p_value = float(stats.binom.sf(only_weak - 1, only_weak + only_strong, 0.5))  # pyright: ignore[reportUnknownMemberType]
    sentence += f", {only_weak} only the former and {only_strong} only the latter"
    return Suspicion(name, sentence, (only_weak - only_strong) / len(weak), allowed, len(weak), p_value)


def judged(found: Sequence[Suspicion], level: float) -> tuple[Suspicion, ...]:
    """All of them, those raised that are large and no accident; what they were judged by is added to the sentence."""
    strict = corrected(np.array([one.p_value for one in found]))
    return tuple(
        replace(
            one,
            sentence=f"{one.sentence} ({one.share:.1%} of images, {one.allowed:.0%} allowed; p = {p_value:.2g})",
            p_corrected=p_value,
            raised=one.share > one.allowed and p_value < level,
        )
        for one, p_value in zip(found, strict.tolist(), strict=True)
    )
