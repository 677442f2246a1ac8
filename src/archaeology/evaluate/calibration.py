"""Is a model right as often as it says? Confidence against accuracy, and the temperature that mends it.

Images are sorted into bins by confidence; in each bin the mean confidence is compared with the share named right. The
expected calibration error (ECE) is the mean distance (`naeini2015obtaining`, `guo2017calibration`). By chance alone it
is above zero also for a perfect model, the more so the more bins and the fewer images. The debiased number takes some
of that away (`kumar2019verified`: what a normal error of each bin's accuracy would add is subtracted), all of it only
where gaps are larger than their error; so there is also what chance alone gives a model that is right as often as it
says. The Brier score is `brier1950verification`'s. Differs: the interval, a bootstrap over images turned around (the
basic bootstrap), because ECE of a resample is biased upwards again.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, signal, special
from scipy import stats as distributions
from torch import Tensor

from archaeology.core.intervals import Interval, bootstrap_mean, wilson
from archaeology.core.registry import unknown_name
from archaeology.core.seeding import numpy_generator

BINS = 15
BINNINGS = ("width", "mass")
RESAMPLES = 1000
LARGEST = 1e4  # of an inverse temperature: beyond it the model is right about every image, however sure it is


@dataclass(frozen=True)
class ReliabilityBin:
    """Images of like confidence.

    Attributes:
        low: Smallest confidence that belongs here.
        high: Largest.
        n: Images.
        confidence: Their mean; NaN without images.
        accuracy: Share named right, with Wilson's interval; None without images.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Interval | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far confidence and accuracy part.

    Attributes:
        bins: Of the reliability diagram.
        binning: "width" (bins of equal width) or "mass" (of equally many images).
        ece: As it is usually reported, biased upwards.
        debiased: Without most of what chance adds, never below 0, with an interval for the true error.
        chance: The ECE that a perfectly calibrated model of the same confidences would have: mean, and where it lies
            with the level's probability. An `ece` inside says nothing against the model.
        confidence: Mean over images.
        accuracy: Share named right, with Wilson's interval.
        brier: Mean squared distance of the probabilities from the truth, summed over classes; 0 to 2.
        nll: Mean of -log of the true class's probability, in nats.
        n: Images.
    """

    bins: tuple[ReliabilityBin, ...]
    binning: str
    ece: float
    debiased: Interval
    chance: Interval
    confidence: float
    accuracy: Interval
    brier: Interval
    nll: Interval
    n: int


@dataclass(frozen=True)
class Temperature:
    """The factor by which logits are divided so that the true classes are most likely.

    Attributes:
        value: Above 1 for a model that is too sure.
        nll_before: On the images it was fitted on, in nats.
        nll_after: Likewise, after dividing.
        n: Images it was fitted on; judge it on others.
    """

    value: float
    nll_before: float
    nll_after: float
    n: int


def calibration(
    logits: Float[Tensor, "image classes"] | Float[np.ndarray, "image classes"],
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"],
    *,
    binning: str = "width",
    num_bins: int = BINS,
    seed: int = 0,
    level: float = 0.95,
) -> Calibration:
    """Reliability diagram and all that is read off it.

    Args:
        logits: Of a model, or logarithms of probabilities.
        labels: True classes.
        binning: "width" or "mass".
        num_bins: At least 1; with "mass" at most as many as images.
        seed: Of the bootstrap.
        level: Coverage of the intervals.

    Raises:
        UnknownNameError: If there is no such binning.
        ValueError: If there is no image, labels do not fit, a logit is not finite or a number is impossible.
    """
    rows, truth = checked(logits, labels)
    if binning not in BINNINGS:
        raise unknown_name("binning", binning, list(BINNINGS))
    most = len(rows) if binning == "mass" else 10_000
    if not 1 <= num_bins <= most:
        raise ValueError(f"num_bins must be 1 to {most}, but got {num_bins=}.")
    logs = special.log_softmax(rows, axis=1)
    probabilities = np.exp(logs)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    named = probabilities[np.arange(len(truth)), truth]
    ece = expected_error(sure, right, binning, num_bins)
    chance = _by_chance(sure, binning, num_bins, seed, level)
    return Calibration(
        bins=reliability(sure, right, binning, num_bins, level),
        binning=binning,
        ece=ece,
        debiased=_with_interval(sure, right, binning, num_bins, seed, level, chance),
        chance=chance,
        confidence=float(sure.mean()),
        accuracy=wilson(int(right.sum()), len(right), level),
        brier=bootstrap_mean((probabilities**2).sum(axis=1) - 2 * named + 1, seed=seed, level=level),
        nll=bootstrap_mean(-logs[np.arange(len(truth)), truth], seed=seed, level=level),
        n=len(rows),
    )


def checked(
    logits: Float[Tensor, "image classes"] | Float[np.ndarray, "image classes"],
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"],
) -> tuple[Float[np.ndarray, "image classes"], Int[np.ndarray, " image"]]:
    """Logits in float64 and labels as arrays that fit each other.

    Raises:
        ValueError: If they do not.
    """
    rows = np.asarray(logits.detach().cpu() if isinstance(logits, Tensor) else logits, dtype=np.float64)
    truth = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels).astype(np.int64)
    if not len(rows) or len(rows) != len(truth) or truth.min() < 0 or truth.max() >= rows.shape[1]:
        raise ValueError(
            f"calibration needs a class in 0..{rows.shape[1] - 1} for each image, and at least one image, but got "
            f"{len(rows)} images and {len(truth)} labels."
        )
    if rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"calibration needs finite logits of at least two classes, but got {rows.shape[1]} classes and "
            f"{int((~np.isfinite(rows)).sum())} values that are NaN or infinite."
        )
    return rows, truth


def bin_of(
    confidence: Float[np.ndarray, " image"], binning: str, num_bins: int
) -> tuple[Int[np.ndarray, " image"], Float[np.ndarray, " edge"]]:
    """The bin of each image, and the edges of the bins; a bin holds its upper edge, as is usual.

    Images of equal confidence may be parted by "mass", in the order given: all bins hold equally many (or one more).
    """
    if binning == "width":
        edges = np.linspace(0, 1, num_bins + 1)
        return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1), edges
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, num_bins)
    which = np.empty(len(confidence), dtype=np.int64)
    for place, part in enumerate(parts):
        which[part] = place
    edges = np.array([confidence[part[0]] for part in parts] + [confidence[order[-1]]])
    return which, edges


def reliability(
    confidence: Float[np.ndarray, " image"],
    right: Bool[np.ndarray, " image"],
    binning: str = "width",
    num_bins: int = BINS,
    level: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """The bins of a reliability diagram, also the empty ones."""
    which, edges = bin_of(confidence, binning, num_bins)
    made = []
    for place in range(num_bins):
        inside = which == place
        n = int(inside.sum())
        accuracy = wilson(int(right[inside].sum()), n, level) if n else None
        mean = float(confidence[inside].mean()) if n else float("nan")
        made.append(ReliabilityBin(float(edges[place]), float(edges[place + 1]), n, mean, accuracy))
    return tuple(made)


def expected_error(
    confidence: Float[np.ndarray, " image"],
    right: Bool[np.ndarray, " image"],
    binning: str = "width",
    num_bins: int = BINS,
) -> float:
    """ECE: mean over images of the distance of confidence and accuracy in the image's bin."""
    _, gap, share = _gaps(confidence, right, binning, num_bins)
    return float((share * np.abs(gap)).sum())


def debiased_error(
    confidence: Float[np.ndarray, " image"],
    right: Bool[np.ndarray, " image"],
    binning: str = "width",
    num_bins: int = BINS,
) -> float:
    """ECE less what chance adds to it; negative where chance would add more than there is.

    Of a bin with accuracy `a` among `n` images and mean confidence `c`, chance makes the distance that of a normal
    variable with mean `c - a` and variance `a (1 - a) / n`; its mean distance less `|c - a|` is
    taken away.
    """
    count, gap, share = _gaps(confidence, right, binning, num_bins)
    accuracy = np.clip(_accuracy(confidence, right, binning, num_bins), 0, 1)
    error = np.sqrt(accuracy * (1 - accuracy) / count)
    safe = np.where(error > 0, error, 1)
    folded = safe * np.sqrt(2 / np.pi) * np.exp(-(gap**2) / (2 * safe**2)) + gap * (
        1 - 2 * distributions.norm.cdf(-gap / safe)
    )
    expected = np.where(error > 0, folded, np.abs(gap))
    return float((share * (2 * np.abs(gap) - expected)).sum())


def fit_temperature(
    logits: Float[Tensor, "image classes"] | Float[np.ndarray, "image classes"],
    labels: Int[Tensor, " label"] | Int[np.ndarray, " label"],
) -> Temperature:
    """The one temperature at which the true classes are most likely (`guo2017calibration`).

    The loss is convex in the inverse temperature, so its slope has one zero, which is bracketed and found.

    Raises:
        ValueError: If logits and labels do not fit, or no temperature is best: the model is right about every image, so
            surer is always better; or guessing is better than the model, so less sure is.
    """
    rows, truth = checked(logits, labels)
    own = rows[np.arange(len(rows)), truth]

    def slope(inverse: float) -> float:
        return float(((np.asarray(special.softmax(inverse * rows, axis=1)) * rows).sum(axis=1) - own).mean())

    def loss(inverse: float) -> float:
        return float((np.asarray(special.logsumexp(inverse * rows, axis=1)) - inverse * own).mean())

    if slope(0.0) >= 0:
        raise ValueError(
            "a temperature needs a model that is better than guessing, but the true classes have no larger logits than "
            "others on average; check that the labels go with the images."
        )
    if slope(LARGEST) <= 0:
        raise ValueError(
            f"a temperature needs images that the model is wrong about, but it is right about all {len(rows)}, so the "
            "surer the better; use other images."
        )
    inverse = float(optimize.brentq(slope, 0.0, LARGEST, xtol=1e-14))  # pyright: ignore[reportArgumentType]
    return Temperature(1 / inverse, loss(1.0), loss(inverse), len(rows))


def _accuracy(
    confidence: Float[np.ndarray, " image"], right: Bool[np.ndarray, " image"], binning: str, num_bins: int
) -> Float[np.ndarray, " bin"]:
    which, _ = bin_of(confidence, binning, num_bins)
    count = np.bincount(which, minlength=num_bins)
    return np.bincount(which, right, num_bins)[count > 0] / count[count > 0]


def _gaps(
    confidence: Float[np.ndarray, " image"], right: Bool[np.ndarray, " image"], binning: str, num_bins: int
) -> tuple[Int[np.ndarray, " bin"], Float[np.ndarray, " bin"], Float[np.ndarray, " bin"]]:
    """Of each bin with images: how many, mean confidence less accuracy, and its share of the images."""
    which, _ = bin_of(confidence, binning, num_bins)
    count = np.bincount(which, minlength=num_bins)
    known = count > 0
    difference = np.bincount(which, confidence - right, num_bins)[known] / count[known]
    return count[known], difference, count[known] / len(confidence)


def _with_interval(
    confidence: Float[np.ndarray, " image"],
    right: Bool[np.ndarray, " image"],
    binning: str,
    num_bins: int,
    seed: int,
    level: float,
    chance: Interval,
) -> Interval:
    """The debiased error, with what resampling moves it by; down to zero where chance alone makes as much of it."""
    generator = numpy_generator(seed, "calibration", len(confidence))
    drawn = np.empty(RESAMPLES)
    for turn in range(RESAMPLES):
        rows = generator.integers(len(confidence), size=len(confidence))
        drawn[turn] = expected_error(confidence[rows], right[rows], binning, num_bins)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    plain = expected_error(confidence, right, binning, num_bins)
    value = max(0.0, debiased_error(confidence, right, binning, num_bins))
    # Resampling adds to the error once more what chance added, and near zero errors are folded: in simulations each
    # of the usual intervals alone missed the truth too often, so the widest ends of all are taken.
    least = min(2 * plain - high, value + drawn.mean() - high)
    most = max(2 * plain - low, value + drawn.mean() - low, high)
    is_chance = plain <= chance.high
    ends = 0.0 if is_chance else max(0.0, float(least)), max(value, float(most))
    return Interval(value, *ends, len(confidence), "bootstrap, widest ends, down to 0 by chance", level)


def p_if_calibrated(sure: Float[np.ndarray, " image"], right: Bool[np.ndarray, " image"]) -> float:
    """Two-sided p-value of "each answer is right with the probability it names": exact, also with hardly a failure.

    The count of right answers of such a model is a sum of unequal coins (Poisson-binomial).
    """
    hits = [np.array([1 - one, one]) for one in np.clip(sure, 0.0, 1.0).astype(np.float64)]
    while len(hits) > 1:  # joined two by two, so that long ones are few
        pairs = [signal.convolve(one, other) for one, other in zip(hits[::2], hits[1::2], strict=False)]
        hits = pairs + hits[len(hits) - len(hits) % 2 :]
    seen = int(right.sum())
    tails = np.clip([hits[0][: seen + 1].sum(), hits[0][seen:].sum()], 0.0, 1.0)
    return float(min(1.0, 2 * tails.min()))


def _by_chance(
    confidence: Float[np.ndarray, " image"], binning: str, num_bins: int, seed: int, level: float
) -> Interval:
    """ECE where every image is right with the probability that its confidence says."""
    generator = numpy_generator(seed, "calibration by chance", len(confidence))
    drawn = [
        expected_error(confidence, generator.random(len(confidence)) < confidence, binning, num_bins)
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(drawn)), float(low), float(high), len(confidence), "redrawn", level)
