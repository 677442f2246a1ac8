"""A loss that ran away: not finite any more, or risen and never come back."""

import math
from collections.abc import Iterator

import numpy as np

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks
from archaeology.diagnose.history import RunHistory

# A training ends well below its best only by accident of batches; half of all it had gained is no accident.
GIVEN_BACK = 0.5
# Lines are means over batches and scatter by a few percent; a rise must stand out of that.
RISE = 1.1
# No guess is as bad as this many times log(classes): only a model thrown far off is so sure of what is wrong.
RUNAWAY = 1.5
# Ending at (nearly) the loss of guessing after having run away, it has not found back.
NOT_BACK = 0.97
REMEDY = (
    "lower the learning rate (a tenth of it first), warm up for longer (--warmup 0.05), and clip the gradient "
    "(--clip 1); failed_batch.safetensors, where there is one, holds the batch that did it"
)


@checks.register("divergence")
def divergence(case: Case) -> Iterator[Diagnosis]:
    """Name it, with loss, gradient norm and learning rate at the time."""
    run = case.history
    failure = run.failure
    if failure.get("kind") == "non_finite":
        numbers = {name: failure.get(name) for name in ("step", "loss", "learning_rate", "gradient_norm")}
        numbers["last_finite_loss"] = next(
            (float(loss) for loss in run.loss[::-1] if np.isfinite(loss)), None
        )
        yield Diagnosis("divergence", f"the loss was not finite {_at(numbers)}", REMEDY, numbers)
        return
    if len(run.loss) and not np.isfinite(run.loss).all():
        place = int(np.argmin(np.isfinite(run.loss)))
        yield Diagnosis(
            "divergence", f"the loss was not finite {_at(_line(run, place))}", REMEDY, _line(run, place)
        )
        return
    place = _rise(run)
    if place is None:
        return
    numbers = {**_line(run, place), "best_loss": float(run.loss.min()), "final_loss": float(run.loss[-1])}
    evidence = (
        f"the loss rose {_at(numbers)} and never came back: {numbers['best_loss']:.3g} at best, "
        f"{numbers['final_loss']:.3g} at last"
    )
    yield Diagnosis("divergence", evidence, REMEDY, numbers)


def _rise(run: RunHistory) -> int | None:
    """The line at which the loss was highest after it had been best, where it never recovered; None if it did."""
    loss = run.loss
    if len(loss) < 3:
        return _runaway(run)
    last = float(np.median(loss[-max(3, len(loss) // 10) :]))
    best = int(loss.argmin())
    gained = max(float(loss[0]) - float(loss[best]), 0.0)
    if last > RISE * loss[best] and last - loss[best] > GIVEN_BACK * gained and best < len(loss) - 3:
        return best + int(loss[best:].argmax())
    return _runaway(run)


def _runaway(run: RunHistory) -> int | None:
    """The line of the worst loss, where that was far above guessing and the last is no better than guessing."""
    if run.chance is None or not len(run.loss):
        return None
    is_lost = run.loss.max() > RUNAWAY * run.chance and run.loss[-1] > NOT_BACK * run.chance
    return int(run.loss.argmax()) if is_lost else None


def _line(run: RunHistory, place: int) -> dict[str, float | int | None]:
    line = run.lines[place]
    rate = float(run.learning_rate[place])
    return {
        "step": line["step"],
        "loss": line.get("loss"),
        "learning_rate": None if math.isnan(rate) else rate,
        "gradient_norm": line.get("gradient_norm"),
    }


def _at(numbers: dict) -> str:
    parts = [f"at step {numbers['step']}"]
    if numbers.get("loss") is not None:
        parts.append(f"loss {numbers['loss']:.3g}")
    if numbers.get("learning_rate") is not None:
        parts.append(f"learning rate {numbers['learning_rate']:.3g}")
    if numbers.get("gradient_norm") is not None:
        parts.append(f"gradient norm {numbers['gradient_norm']:.3g}")
    if numbers.get("last_finite_loss") is not None:
        parts.append(f"last finite loss {numbers['last_finite_loss']:.3g}")
    return f"{parts[0]} ({', '.join(parts[1:])})" if parts[1:] else parts[0]
