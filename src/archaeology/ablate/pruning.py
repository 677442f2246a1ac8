"""How many heads can go? Take out, again and again, the head whose loss is least, and see what accuracy is left.

Greedy: at every step each head still there is tried together with all that are gone, exactly; the one whose removal
leaves the lowest loss goes. Chosen on one half of the images, measured on the other half, beside the order of single
effects (what heads cost alone, all known after the first step) and random orders. Source: `michel2019sixteen`, who
prune in the order of estimated single effects. Differs: exact, and heads are chosen given what is already gone. Cost
of the greedy order with n heads: about n^2 / 4 passes over the first half; the model before the first layer in
question runs once for all candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.ablate.cuts import of_heads, places_of
from archaeology.ablate.stand_ins import drawn_others
from archaeology.ablate.trial import Trial, trial_of
from archaeology.core.intervals import Interval, bootstrap_means, wilson
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.specimen import Specimen

Place = tuple[int, int]
TRIED_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class PruningOrder:
    """Heads in the order they go, and what became of the images of the other half.

    Attributes:
        name: "greedy", "lazy greedy", "single effects" or "random 0", "random 1", ...
        removed: The heads as (layer, head), first to go first.
        correct: 1 where the model is right, after no, one, two, ... removals.
        loss: Cross-entropy in nats, likewise.
    """

    name: str
    removed: tuple[Place, ...]
    correct: Float[np.ndarray, "image step"]
    loss: Float[np.ndarray, "image step"]


@dataclass(frozen=True, eq=False)
class PruningCurve:
    """Several orders of removal, measured on the same images.

    Attributes:
        orders: The one asked for first, then that of single effects, then random ones.
        num_chosen_on: Images that orders were chosen on; none of them is measured.
        num_tried: Sets of heads tried in order to choose.
        replacement: What heads said instead.
    """

    orders: tuple[PruningOrder, ...]
    num_chosen_on: int
    num_tried: int
    replacement: str

    def table(self, seed: int = 0) -> list[dict[str, object]]:
        """One row for each order and number of removals, from 0.

        Keys: `order, removed`; `layer, head` of the head that went last (None at first); `accuracy` with Wilson's
        interval and `loss` with a bootstrapped one (`_low`, `_high`, 95 %), `n`.
        """
        rows: list[dict[str, object]] = []
        for order in self.orders:
            losses = bootstrap_means(order.loss, seed=seed)
            for step, loss in enumerate(losses):
                accuracy = wilson(int(order.correct[:, step].sum()), len(order.correct))
                layer, head = order.removed[step - 1] if step else (None, None)
                rows.append(
                    {
                        "order": order.name,
                        "removed": step,
                        "layer": layer,
                        "head": head,
                        "accuracy": accuracy.value,
                        "accuracy_low": accuracy.low,
                        "accuracy_high": accuracy.high,
                        "loss": loss.value,
                        "loss_low": loss.low,
                        "loss_high": loss.high,
                        "n": loss.n,
                    }
                )
        return rows

    def mean_accuracies(self, seed: int = 0) -> Mapping[str, Interval]:
        """Accuracy averaged over all steps of each order: one number for a curve; bootstrapped, paired over images."""
        columns = np.stack([order.correct.mean(axis=1) for order in self.orders], axis=1)
        names = [order.name for order in self.orders]
        return dict(zip(names, bootstrap_means(columns, seed=seed), strict=True))


def pruning_curve(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    replacement: str = "mean",
    lazy: bool = False,
    steps: int | None = None,
    random_orders: int = 3,
    seed: int = 0,
    batch_size: int | None = None,
) -> PruningCurve:
    """Prune heads on half of the images and measure on the other half.

    Args:
        specimen: A model with attention.
        images: At least two; halves are drawn by seed.
        labels: Their classes.
        replacement: What a removed head says: "mean" (over the first half), "zero" or "another" (image's).
        lazy: Try again only heads whose last known rise of the loss is small, until the best of those is better than
            what is known of the rest (`minoux1978accelerated`). The same as greedy where no head gets cheaper to remove
            by others' going, and many times cheaper; where some do, it may miss them.
        steps: How many heads to remove; all if None.
        random_orders: How many random orders to compare with.
        seed: Of the halves, the random orders and the drawing of others.
        batch_size: Images at once; by itself if None.

    Raises:
        UnknownNameError: If there is no such replacement.
        ValueError: If there are fewer than two images (four for "another"), or steps do not fit; as `ablate_heads`
            otherwise.
        SelfCheckError: If the model shows no attention.
    """
    if len(images) < (4 if replacement == "another" else 2) or len(images) != len(labels):
        raise ValueError(
            "pruning needs images to choose on and others to measure on, at least 2 (4 to draw others' answers) with a "
            f"label each, but got {len(images)} images and {len(labels)} labels."
        )
    drawn = torch.randperm(len(images), generator=torch_generator(seed, "pruning halves", len(images)))
    first, second = (part.sort().values for part in drawn.tensor_split(2))
    chosen_on = trial_of(
        specimen,
        images[first],
        labels[first],
        replacement=replacement,
        seed=seed,
        batch_size=batch_size,
    )
    measured_on = replace(chosen_on, images=images[second], labels=labels[second])
    if replacement == "another":
        measured_on = replace(measured_on, others=images[second][drawn_others(len(second), seed)])
    places = places_of(chosen_on.sweep.heads)
    steps = len(places) if steps is None else steps
    if not 1 <= steps <= len(places):
        raise ValueError(f"steps must lie in 1..{len(places)}, the number of heads, but got {steps=}.")
    search = _Search(chosen_on)
    alone = search.rises(places, ())
    chosen = _lazily(search, places, alone, steps) if lazy else _greedily(search, places, alone, steps)
    orders = {"lazy greedy" if lazy else "greedy": chosen}
    orders["single effects"] = [places[number] for number in np.argsort(alone, kind="stable")[:steps]]
    for number in range(random_orders):
        shuffled = torch.randperm(len(places), generator=torch_generator(seed, "random order", number))
        orders[f"random {number}"] = [places[place] for place in shuffled.tolist()[:steps]]
    return PruningCurve(
        orders=tuple(_measured(measured_on, name, order) for name, order in orders.items()),
        num_chosen_on=len(first),
        num_tried=search.num_tried,
        replacement=replacement,
    )


@dataclass
class _Search:
    """Asks what removing heads costs, and counts the questions."""

    trial: Trial
    num_tried: int = 0

    def rises(self, candidates: Sequence[Place], gone: Sequence[Place]) -> Float[np.ndarray, " candidate"]:
        """By how much the mean loss rises when each candidate goes too."""
        self.num_tried += len(candidates)
        heads = self.trial.sweep.heads
        cuts = of_heads([[*gone, candidate] for candidate in candidates], heads)
        found = self.trial.outcomes(cuts, base=of_heads([gone], heads))
        return found.cut_loss.mean(axis=0) - found.loss.mean()


def _greedily(search: _Search, places: Sequence[Place], alone: np.ndarray, steps: int) -> list[Place]:
    gone: list[Place] = []
    left, rises = list(places), alone
    while True:
        gone.append(left.pop(int(np.argmin(rises))))
        if len(gone) == steps:
            return gone
        rises = search.rises(left, gone) if len(left) > 1 else np.zeros(1)


def _lazily(search: _Search, places: Sequence[Place], alone: np.ndarray, steps: int) -> list[Place]:
    known = dict(zip(places, alone.tolist(), strict=True))
    gone = [min(known, key=lambda place: known[place])]
    known.pop(gone[0])
    while len(gone) < steps:
        fresh: set[Place] = set(known) if len(known) == 1 else set()
        while True:
            best = min(known, key=lambda place: known[place])
            if best in fresh:
                break
            stale = sorted(set(known) - fresh, key=lambda place: known[place])[:TRIED_AT_ONCE]
            known.update(zip(stale, search.rises(stale, gone).tolist(), strict=True))
            fresh.update(stale)
        gone.append(best)
        known.pop(best)
    return gone


def _measured(trial: Trial, name: str, order: Sequence[Place]) -> PruningOrder:
    cuts = of_heads([order[:step] for step in range(len(order) + 1)], trial.sweep.heads)
    found = trial.outcomes(cuts)
    return PruningOrder(name, tuple(order), found.cut_correct, found.cut_loss)
