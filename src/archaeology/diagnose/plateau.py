"""A loss that stands still although the rate would still let it move, or that never moved at all."""

from collections.abc import Iterator

import numpy as np

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks
from archaeology.diagnose.history import RunHistory

# Two percent in a third of the training; a training that is worth its time gains ten.
FLAT = 0.02
# Below this mean factor the schedule itself has brought the training to rest.
HIGH_RATE = 0.3
# A loss that came down by less than this altogether has learned nothing yet: CIFAR-10 gives a tenth in one epoch.
NEVER_MOVED = 0.05
SOLVED_ACCURACY = 0.95  # there is nothing left to gain
SOLVED_LOSS = 0.05  # of the first line's: likewise, where there is no accuracy
FEWEST_LINES = 6
HALF_WAY = 0.5  # of a training that goes on, only then can be said that it stands still


@checks.register("plateau")
def plateau(case: Case) -> Iterator[Diagnosis]:
    """Flat over the last third at a high rate, or flat from beginning to end."""
    run = case.history
    loss = run.loss
    if case.has("divergence") or len(loss) < FEWEST_LINES or run.progress < HALF_WAY or _is_solved(run):
        return
    third = len(loss) // 3
    middle, last = float(loss[third : 2 * third].mean()), float(loss[-third:].mean())
    fell = 1 - float(np.median(loss[-3:])) / float(loss[0])
    if run.chance is not None:
        fell = 1 - float(np.median(loss[-3:])) / max(float(loss[0]), run.chance)
    rate = float(run.rate[-third:].mean())
    numbers = {"fell": fell, "fell_in_last_third": 1 - last / middle, "rate_in_last_third": rate}
    numbers |= {"final_loss": float(loss[-1]), "learning_rate": float(run.learning_rate[-third:].mean())}
    if fell < NEVER_MOVED:
        guess = f" (guessing gives {run.chance:.3g})" if run.chance is not None else ""
        yield Diagnosis(
            "plateau",
            f"the loss never left its beginning: it came down by {100 * fell:.1f} % in {run.steps} steps, to "
            f"{loss[-1]:.4g}{guess}, at a full learning rate of {run.config.get('learning_rate', float('nan')):.3g}",
            "raise the learning rate tenfold, and try --overfit-one-batch: if one batch cannot be learned either, look "
            "at labels, normalisation and what is frozen",
            numbers,
        )
    elif numbers["fell_in_last_third"] < FLAT and rate > HIGH_RATE:
        yield Diagnosis(
            "plateau",
            f"the loss stood still over the last third ({middle:.4g} before, {last:.4g} then: "
            f"{100 * numbers['fell_in_last_third']:.1f} % down) while the rate was still at {100 * rate:.0f} % of its "
            "full height",
            "let the rate fall (--schedule cosine or linear): at a high one the weights only wander about; if the loss "
            "stands still after that too, the model is too small or the rate was too high from the start",
            numbers,
        )


def _is_solved(run: RunHistory) -> bool:
    reached = run.accuracy("test")
    if reached is not None:
        return reached > SOLVED_ACCURACY
    return float(run.loss[-1]) < SOLVED_LOSS * float(run.loss[0])
