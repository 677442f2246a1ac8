"""Beginnings that hurt: no warm-up, and normalising after the block instead of before it."""

from collections.abc import Iterator

import numpy as np

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks
from archaeology.diagnose.history import RunHistory

EARLY = 0.1  # share of the training that counts as its beginning
# Gradient norms of a calm training stay within a factor of two or three of their median.
GRADIENT_SPIKE = 5.0
# A fresh classifier guesses: log(classes). A mean above this multiple of it was worse than guessing for many steps.
LOSS_SPIKE = 1.1


@checks.register("no_warmup")
def no_warmup(case: Case) -> Iterator[Diagnosis]:
    """The full rate from the first step on, and a spike of loss or gradient norm there."""
    run = case.history
    if run.config.get("warmup", None) != 0 or run.config.get("schedule") == "one_cycle":
        return
    spike = early_spike(run)
    if spike is None and case.has("divergence") and run.progress <= EARLY:
        spike = "the loss ran away at once", {}
    if spike is None:
        return
    words, numbers = spike
    yield Diagnosis(
        "no_warmup",
        f"warmup is 0, and in the beginning {words}",
        "--warmup 0.05: normalisation and the optimizer's averages need some steps before they bear the full rate",
        {"warmup": 0.0, **numbers},
    )


@checks.register("post_norm")
def post_norm(case: Case) -> Iterator[Diagnosis]:
    """Blocks that normalise after adding, and a training that shows why that is hard (`xiong2020layer`)."""
    run = case.history
    if run.arguments.get("norm") != "post":
        return
    spike = early_spike(run)
    symptoms = [
        diagnosis.name for diagnosis in case.found if diagnosis.name in ("divergence", "no_warmup", "plateau")
    ]
    if spike:
        symptoms.append(spike[0])
    if not symptoms:
        return
    yield Diagnosis(
        "post_norm",
        f"blocks normalise after adding (norm='post'), and it shows: {', '.join(symptoms)}",
        "norm='pre', which trains without care; or keep 'post' with a long warm-up (--warmup 0.1) and a lower rate",
        {"norm": "post", "symptoms": symptoms},
    )


def early_spike(run: RunHistory) -> tuple[str, dict[str, float]] | None:
    """What leapt up in the beginning, in words and numbers; None if nothing did."""
    if not len(run.loss):
        return None
    progress = run.series("progress")
    first = np.flatnonzero(progress <= max(EARLY, float(np.nanmin(progress))))
    norms = run.series("gradient_norm")
    later = norms[len(first) :]
    if np.isfinite(later).any() and np.isfinite(norms[first]).any():
        usual, most = float(np.nanmedian(later)), float(np.nanmax(norms[first]))
        if usual > 0 and most > GRADIENT_SPIKE * usual:
            words = f"the gradient norm reached {most:.3g}, {most / usual:.0f} times its later median of {usual:.3g}"
            return words, {"early_gradient_norm": most, "later_gradient_norm": usual}
    losses = run.loss[first]
    if run.chance is not None and np.isfinite(losses).any() and np.nanmax(losses) > LOSS_SPIKE * run.chance:
        most = float(np.nanmax(losses))
        words = f"the loss reached {most:.3g}, worse than guessing (log of the classes: {run.chance:.3g})"
        return words, {"early_loss": most, "chance": run.chance}
    return None
