"""The answers of one model as its failures are taken apart by them, and how sure it is against how right."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from archaeology.core.intervals import Interval
from archaeology.core.seeding import numpy_generator
from archaeology.dig.labels import ClassMatch
from archaeology.evaluate.calibration import (
    Calibration,
    calibration,
    debiased_error,
    expected_error,
    fit_temperature,
    p_if_calibrated,
)
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class Case:
    """The images taken apart, as one model sees them.

    Attributes:
        specimen: The model.
        labels: True classes of the data.
        truth: The same as numbers of the model's logits.
        logits: Of the classes of the data, in their order; and behind them, where there are others, the largest other.
        every: All logits as the model gives them.
    """

    specimen: Specimen
    labels: Int[np.ndarray, " image"]
    truth: Int[np.ndarray, " image"]
    logits: Float[np.ndarray, "image class"]
    every: Float[np.ndarray, "image logit"]

    def only(self, rows: list[int]) -> "Case":
        """Some of the images."""
        return Case(self.specimen, self.labels[rows], self.truth[rows], self.logits[rows], self.every[rows])

    @property
    def probabilities(self) -> Float[np.ndarray, "image class"]:
        """Of the columns of `logits`, among all classes of the model: rows sum to less than one where it has more."""
        return np.exp(self.logits - special.logsumexp(self.every, axis=1, keepdims=True))

    @property
    def right(self) -> Bool[np.ndarray, " image"]:
        """Which images the model names right."""
        return self.logits.argmax(axis=1) == self.labels


def case_of(
    specimen: Specimen, match: ClassMatch, logits: Float[np.ndarray, "image logit"], labels: np.ndarray
) -> Case:
    """A model's answers brought to the classes of the data."""
    assert match.logit is not None
    own = logits[:, match.logit]
    others = np.delete(logits, match.logit, axis=1)
    if others.shape[
        1
    ]:  # a class that the data does not know is an answer, too; the largest keeps what is named
        own = np.concatenate([own, others.max(axis=1, keepdims=True)], axis=1)
    return Case(specimen, labels, match.logit[labels], own, logits)


def calibrated(case: Case, seed: int) -> dict[str, Any]:
    """Calibration of all answers, how much surer than right, a temperature fitted on one half, tried on the other."""
    if case.every.shape[1] < 2:
        return {"missing": "calibration needs two classes or more, but there is one"}
    found = calibration(case.every, case.truth, seed=seed)
    sure = special.softmax(case.every, axis=1).max(axis=1)
    right = case.every.argmax(axis=1) == case.truth
    # Errors are of accuracy: a bootstrap of the difference has next to no width where failures are few.
    of_right, mean = found.accuracy, float(sure.mean())
    gap = asdict(
        Interval(mean - of_right.value, mean - of_right.high, mean - of_right.low, found.n, "wilson")
    )
    gap["p_value"] = p_if_calibrated(sure, right)
    return {**_described(found), "overconfidence": gap, "temperature": _cooled(case, seed)}


def _described(found: Calibration) -> dict[str, Any]:
    return {
        "n": found.n,
        "ece": found.ece,
        "debiased": asdict(found.debiased),
        "chance": asdict(found.chance),
        "confidence": found.confidence,
        "accuracy": asdict(found.accuracy),
        "brier": asdict(found.brier),
        "nll": asdict(found.nll),
        "bins": [
            {
                "low": one.low,
                "high": one.high,
                "n": one.n,
                "confidence": one.confidence if one.n else None,
                "accuracy": None if one.accuracy is None else asdict(one.accuracy),
            }
            for one in found.bins
        ],
    }


def _cooled(case: Case, seed: int) -> dict[str, Any]:
    """What dividing by one temperature does to images that it was not fitted on."""
    order = numpy_generator(seed, "halves of a temperature").permutation(len(case.labels))
    first, second = np.sort(order[::2]), np.sort(order[1::2])
    try:
        fitted = fit_temperature(case.every[first], case.truth[first])
    except ValueError as error:
        return {"missing": str(error)}
    if not len(second):
        return {"missing": "there is no image left to try a temperature on"}
    said: dict[str, Any] = {"value": fitted.value, "n_fitted": len(first), "n_tried": len(second)}
    for name, logits in (("before", case.every[second]), ("after", case.every[second] / fitted.value)):
        probabilities = special.softmax(logits, axis=1)
        sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == case.truth[second]
        said[f"ece_{name}"] = expected_error(sure, right)
        said[f"debiased_{name}"] = max(0.0, debiased_error(sure, right))
    return said
