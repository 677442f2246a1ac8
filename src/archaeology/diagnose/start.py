"""Rates that hurt: no warm-up, normalising after the block instead of before it, a rate that is too high."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks
from archaeology.diagnose.history import RunHistory, Series

EARLY, SOON_AFTER = 0.1, 0.4  # shares of the training: its beginning, and what the beginning is compared with
# Gradient norms of a calm training stay within a factor of two or three of their median.
GRADIENT_SPIKE = 5.0
# Gradients also fall because all is learned. Only where most of the loss is still there was a high norm a spike.
STILL_LEARNING = 0.7
# A fresh classifier guesses: log(classes). A mean above this multiple of it was worse than guessing for many steps.
LOSS_SPIKE = 1.1
# Lines of good trainings rise by a fifth at most above the best before.
LEAP = 1.5
POST_NORM_LEAP = 1.25  # where there is a reason to expect one


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
    times, place = worst_leap(run)
    if times > POST_NORM_LEAP:
        symptoms.append(
            f"at step {run.lines[place]['step']} the loss leapt to {times:.1f} times what it had been"
        )
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


@checks.register("rate_too_high")
def rate_too_high(case: Case) -> Iterator[Diagnosis]:
    """A loss that leapt up and came back: the training was thrown off its way, and paid for it."""
    run = case.history
    times, place = worst_leap(run)
    if times < LEAP or case.has("divergence", "no_warmup", "post_norm"):
        return
    step, loss, rate = run.lines[place]["step"], float(run.loss[place]), float(run.learning_rate[place])
    yield Diagnosis(
        "rate_too_high",
        f"the loss leapt to {loss:.3g} at step {step} (learning rate {rate:.3g}), {times:.1f} times what it had been, "
        "and took time to come back",
        "lower the learning rate to a third, or clip the gradient (--clip 1)",
        {"step": step, "loss": loss, "times": times, "learning_rate": rate},
    )


def worst_leap(run: RunHistory) -> tuple[float, int]:
    """How many times the best loss before (or that of guessing) it was at worst, at least 1; and in which line."""
    if len(run.loss) < 2 or not np.isfinite(run.loss).all():
        return 1.0, 0
    before = np.minimum.accumulate(run.loss)[:-1]
    if run.chance is not None:
        before = np.minimum(before, run.chance)
    leaps = run.loss[1:] / np.maximum(before, np.finfo(float).tiny)
    return max(1.0, float(leaps.max())), 1 + int(leaps.argmax())


def early_spike(run: RunHistory) -> tuple[str, dict[str, float]] | None:
    """What leapt up in the beginning, in words and numbers; None if nothing did."""
    if not len(run.loss):
        return None
    progress = run.series("progress")
    is_first = progress <= max(EARLY, float(np.nanmin(progress)))
    is_next = ~is_first & (progress <= max(SOON_AFTER, float(progress[min(len(progress) - 1, 3)])))
    return _leap_of_loss(run, run.loss[is_first]) or _leap_of_gradient(run, is_first, is_next)


def _leap_of_loss(run: RunHistory, losses: Series) -> tuple[str, dict[str, float]] | None:
    if run.chance is None or not np.isfinite(losses).any() or np.nanmax(losses) <= LOSS_SPIKE * run.chance:
        return None
    most = float(np.nanmax(losses))
    words = f"the loss reached {most:.3g}, worse than guessing (log of the classes: {run.chance:.3g})"
    return words, {"early_loss": most, "chance": run.chance}


def _leap_of_gradient(
    run: RunHistory, is_first: Bool[np.ndarray, " line"], is_next: Bool[np.ndarray, " line"]
) -> tuple[str, dict[str, float]] | None:
    norms = run.series("gradient_norm")
    if not np.isfinite(norms[is_first]).any() or not np.isfinite(norms[is_next]).any():
        return None
    if np.nanmedian(run.loss[is_next]) < STILL_LEARNING * np.nanmax(run.loss[is_first]):
        return None
    usual, most = float(np.nanmedian(norms[is_next])), float(np.nanmax(norms[is_first]))
    if most <= GRADIENT_SPIKE * usual:
        return None
    times = most / max(usual, 1e-12)
    words = f"the gradient norm reached {most:.3g}, {times:.0f} times its median soon after, {usual:.3g}"
    return words, {"early_gradient_norm": most, "later_gradient_norm": usual}
