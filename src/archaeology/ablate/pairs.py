"""Does removing two heads hurt more than both removals together? Then each was the other's understudy.

Interaction of heads a and b = effect(a and b) - effect(a) - effect(b), where an effect is the rise of the loss, image
by image. Above zero: they stand in for each other (redundant), so single removals undersell both. Below zero: they
need each other, or damage the same thing, which breaks only once. Exact: with a removed the model before b's layer is
run once for all b.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.ablate.cuts import of_each_head, of_heads, places_of
from archaeology.ablate.trial import Trial, trial_of
from archaeology.core.intervals import bootstrap_means
from archaeology.core.many import corrected, sign_flip_test
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.specimens.specimen import Specimen

Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PairInteractions:
    """The rise of the loss when one head goes, and when two go, image by image.

    Attributes:
        pairs: The two heads, each as (layer, head), the one in the earlier place first.
        first: Rise of the loss without the first, in nats.
        second: Rise without the second.
        both: Rise without both.
        replacement: What was said instead.
    """

    pairs: tuple[tuple[Place, Place], ...]
    first: Float[np.ndarray, "image pair"]
    second: Float[np.ndarray, "image pair"]
    both: Float[np.ndarray, "image pair"]
    replacement: str

    @property
    def interaction(self) -> Float[np.ndarray, "image pair"]:
        """By how much both together raise the loss more than the sum of both alone."""
        return self.both - self.first - self.second

    def table(
        self, seed: int = 0, *, correction: str = "holm", level: float = 0.05
    ) -> list[dict[str, object]]:
        """One row for each pair.

        Keys: `layer, head, other_layer, other_head`; mean rises `first`, `second`, `both`; `interaction` with `_low`
        and `_high` (95 %, bootstrapped over images, paired); `p` (sign flips) and `p_corrected` over all pairs;
        `relation`: "stand in for each other" (surely above 0), "less than the sum" (surely below 0) or "not shown to
        interact".
        """
        found = self.interaction
        intervals = bootstrap_means(found, seed=seed)
        p = sign_flip_test(found, seed=seed)
        p_corrected = corrected(p, correction)
        rows: list[dict[str, object]] = []
        for number, (first, second) in enumerate(self.pairs):
            interval = intervals[number]
            relation = "stand in for each other" if interval.value > 0 else "less than the sum"
            rows.append(
                {
                    "layer": first[0],
                    "head": first[1],
                    "other_layer": second[0],
                    "other_head": second[1],
                    "first": float(self.first[:, number].mean()),
                    "second": float(self.second[:, number].mean()),
                    "both": float(self.both[:, number].mean()),
                    "interaction": interval.value,
                    "interaction_low": interval.low,
                    "interaction_high": interval.high,
                    "n": interval.n,
                    "p": float(p[number]),
                    "p_corrected": float(p_corrected[number]),
                    "relation": relation if p_corrected[number] < level else "not shown to interact",
                }
            )
        return rows


def pair_interactions(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    heads: Sequence[Place] | None = None,
    budget: int = 120,
    replacement: str = "mean",
    others: OtherImages | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> PairInteractions:
    """Remove heads two by two.

    Args:
        specimen: A model with attention.
        images: Of any number.
        labels: Their classes.
        heads: The heads to pair, as (layer, head); if None all, or where these make more pairs than `budget`, those
            whose single removal raises the loss most. Heads that stand in for each other may each do little alone: to
            be sure to find them, name heads or raise the budget.
        budget: Most pairs to try where `heads` is None; k heads make k (k - 1) / 2.
        replacement: "mean" (over these images), "zero" or "another" (image's).
        others: For "another", as in `ablate_heads`.
        seed: Of the drawing of others.
        batch_size: Images at once; by itself if None.

    Raises:
        UnknownNameError: If there is no such replacement.
        ValueError: If fewer than two heads are to be paired or one is none of the model's; as `ablate_heads` otherwise.
        SelfCheckError: If the model shows no attention.
    """
    trial = trial_of(
        specimen,
        images,
        labels,
        replacement=replacement,
        others=others,
        seed=seed,
        batch_size=batch_size,
    )
    places = places_of(trial.sweep.heads)
    _check(heads, places, budget)
    single = trial.outcomes(of_each_head(trial.sweep.heads))
    rise = dict(zip(places, (single.cut_loss - single.loss[:, None]).T, strict=True))
    chosen = sorted(set(heads)) if heads is not None else _hardest(rise, budget)
    pairs = tuple((first, second) for number, first in enumerate(chosen) for second in chosen[number + 1 :])
    both = [_with(trial, first, [b for a, b in pairs if a == first]) for first in chosen[:-1]]
    return PairInteractions(
        pairs=pairs,
        first=np.stack([rise[first] for first, _ in pairs], axis=1),
        second=np.stack([rise[second] for _, second in pairs], axis=1),
        both=np.concatenate(both, axis=1) - single.loss[:, None],
        replacement=replacement,
    )


def _with(trial: Trial, first: Place, seconds: Sequence[Place]) -> Float[np.ndarray, "image pair"]:
    """Losses without `first` and each of the `seconds`, which come after it."""
    heads = trial.sweep.heads
    cuts = of_heads([[first, second] for second in seconds], heads)
    return trial.outcomes(cuts, base=of_heads([[first]], heads)).cut_loss


def _hardest(rise: dict[Place, np.ndarray], budget: int) -> list[Place]:
    """As many heads as make no more pairs than the budget, those whose removal raises the loss most."""
    most = int((1 + np.sqrt(1 + 8 * budget)) // 2)
    ranked = sorted(rise, key=lambda place: -float(rise[place].mean()))
    return sorted(ranked[:most])


def _check(heads: Sequence[Place] | None, places: Sequence[Place], budget: int) -> None:
    if heads is None and (budget < 1 or len(places) < 2):
        raise ValueError(
            f"pairs need a budget of at least 1 and a model of at least two heads, but got {budget=} and "
            f"{len(places)} heads."
        )
    if heads is not None and (len(set(heads)) < 2 or not set(heads) <= set(places)):
        strange = sorted(set(heads) - set(places))
        raise ValueError(
            f"heads must name at least two heads as (layer, head), both from 0, but got {list(heads)}"
            + (f", of which {strange[0]} is none of the model's." if strange else ".")
        )
