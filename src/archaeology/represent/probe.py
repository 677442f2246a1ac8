"""Can a straight line tell the classes apart? A linear probe says what of a layer can be read off without more layers.

Multinomial logistic regression with a squared penalty, so there is one answer and no luck of training; scikit-learn's
L-BFGS finds it. The penalty is chosen by cross-validation within the training images, features are standardised by
them. Sources: `alain2017understanding` (probes), `radford2021learning` (this protocol). Differs: says whether the
solver arrived, and refuses images that are in both sets.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from archaeology.core.intervals import Interval, mean_over_draws, wilson
from archaeology.core.seeding import derived_seed, numpy_generator
from archaeology.represent.features import Features, check_finite, label_array

PENALTIES = tuple(
    float(10.0**power) for power in range(-4, 3)
)  # scikit-learn's C: the larger, the less penalty
FOLDS = 5
SHOTS = (1, 2, 5, 10, 50)
STEPS = 1000  # of the solver
TOLERANCE = 1e-4
NEVER = -1e4  # logit of a class without an image

Labels = Int[Tensor, " label"] | Int[np.ndarray, " label"]


@dataclass(frozen=True, eq=False)
class Probe:
    """What a linear probe read.

    Attributes:
        name: Of the features.
        predicted: Class of each test image.
        accuracy: Share of test images named right, with Wilson's interval.
        train_accuracy: Share of the training images: far above `accuracy` where the probe learnt by heart.
        strength: scikit-learn's C that was chosen; the larger, the weaker the penalty.
        validation: Accuracy in cross-validation of each C tried; empty where C was given.
        has_converged: Whether the solver arrived.
    """

    name: str
    predicted: Int[np.ndarray, " image"]
    accuracy: Interval
    train_accuracy: float
    strength: float
    validation: tuple[tuple[float, float], ...]
    has_converged: bool


@dataclass(frozen=True, eq=False)
class FewShot:
    """Accuracy of probes that saw only a few images of each class.

    Attributes:
        name: Of the features.
        shots: Images of each class.
        accuracy: Mean over draws for each number of shots, with Student's interval over draws.
        draws: Every draw's accuracy.
        by_image: Share of the draws in which each test image was named right.
        num_test: Images judged.
    """

    name: str
    shots: tuple[int, ...]
    accuracy: tuple[Interval, ...]
    draws: Float[np.ndarray, "shot draw"]
    by_image: Float[np.ndarray, "shot test"]
    num_test: int


def linear_probe(
    train: Features,
    train_labels: Labels,
    test: Features,
    test_labels: Int[Tensor, " test"] | Int[np.ndarray, " test"],
    *,
    strengths: Sequence[float] = PENALTIES,
    folds: int = FOLDS,
    seed: int = 0,
) -> Probe:
    """Train a probe and judge it on other images.

    Args:
        train: Features to learn from.
        train_labels: Their classes.
        test: Features of other images, of the same layer.
        test_labels: Their classes.
        strengths: Penalties tried, as scikit-learn's C; with only one, nothing is cross-validated. Of equally good ones
            the strongest penalty is taken.
        folds: Of cross-validation, stratified; every class needs as many images.
        seed: Of the folds.

    Raises:
        ValueError: If there is only one class, a class has fewer images than folds, the feature sets do not fit or
            share an image, a feature is not finite or all features are constant.
    """
    labels, truth = label_array(train_labels, train), label_array(test_labels, test)
    check_apart(train, test)
    _check_training(train, labels, strengths, folds)
    validation = _cross_validated(train, labels, strengths, folds, seed) if len(strengths) > 1 else ()
    best = max(score for _, score in validation) if validation else 0.0
    strength = min(c for c, score in validation if score == best) if validation else float(strengths[0])
    scaler, model, has_converged = _fitted(train.values, labels, strength)
    predicted, own = (_named(scaler, model, part.values) for part in (test, train))
    return Probe(
        name=train.name,
        predicted=predicted,
        accuracy=wilson(int((predicted == truth).sum()), len(truth)),
        train_accuracy=float(np.mean(own == labels)),
        strength=strength,
        validation=validation,
        has_converged=has_converged,
    )


def probe_head(
    train: Features, train_labels: Labels, num_classes: int, *, strength: float = 1.0
) -> nn.Linear:
    """The probe as one linear layer on features as they are: standardising is part of its weights.

    Args:
        train: Features to learn from.
        train_labels: Their classes.
        num_classes: How many there are; one without an image is never named.
        strength: scikit-learn's C.

    Raises:
        ValueError: As `linear_probe`, or if a label is none of the classes.
    """
    labels = label_array(train_labels, train)
    _check_training(train, labels, [strength], 1)
    if labels.max() >= num_classes:
        raise ValueError(f"labels must be below num_classes={num_classes}, but got {labels.max()}.")
    scaler, model, _ = _fitted(train.values, labels, strength)
    slopes, offsets = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:  # one number, positive for the second class
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-offsets, offsets]) / 2
    scale, mean = np.asarray(scaler.scale_), np.asarray(scaler.mean_)
    scaled = slopes / scale
    head = nn.Linear(train.values.shape[1], num_classes)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(NEVER)
        head.weight[model.classes_] = torch.from_numpy(scaled).float()
        head.bias[model.classes_] = torch.from_numpy(offsets - scaled @ mean).float()
    return head.requires_grad_(False)


def few_shot(
    train: Features,
    train_labels: Labels,
    test: Features,
    test_labels: Int[Tensor, " test"] | Int[np.ndarray, " test"],
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = 5,
    strength: float = 1.0,
    seed: int = 0,
    level: float = 0.95,
) -> FewShot:
    """How accuracy grows with the images of each class that a probe may see.

    With one seed the images of a draw with few shots are among those with more. The penalty is fixed, since a few
    images leave nothing to choose it by, and features are standardised by the images drawn.

    Args:
        train: Features to draw from.
        train_labels: Their classes.
        test: Features of other images.
        test_labels: Their classes.
        shots: Images of each class.
        draws: How often they are drawn, at least 2.
        strength: scikit-learn's C.
        seed: Of the draws.
        level: Coverage of the intervals, which say how results vary with the draw and with the test images.

    Raises:
        ValueError: If a class has fewer images than shots, or as `linear_probe`.
    """
    labels, truth = label_array(train_labels, train), label_array(test_labels, test)
    check_apart(train, test)
    _check_training(train, labels, [strength], 1)
    _, counts = np.unique(labels, return_counts=True)
    if not shots or min(shots) < 1 or max(shots) > counts.min() or draws < 2:
        raise ValueError(
            f"few_shot needs draws >= 2 and at least as many images in every class as shots, but got {draws=}, "
            f"shots={list(shots)}, and a class with {counts.min()} images."
        )
    right = np.zeros((len(shots), draws, len(truth)))
    for draw in range(draws):
        order = numpy_generator(seed, "few shots", draw).permutation(len(labels))
        for row, count in enumerate(shots):
            chosen = _first_of_each(labels, order, count)
            scaler, model, _ = _fitted(train.values[chosen], labels[chosen], strength)
            right[row, draw] = _named(scaler, model, test.values) == truth
    found, by_image = right.mean(axis=2), right.mean(axis=1)
    accuracy = tuple(_share(*pair, level) for pair in zip(found, by_image, strict=True))
    return FewShot(train.name, tuple(shots), accuracy, found, by_image, len(truth))


def check_apart(train: Features, test: Features) -> None:
    """Raise unless two feature sets are of one layer and share no image.

    Raises:
        ValueError: If they do not; a shared image would be learnt by heart and counted as known.
    """
    if train.values.shape[1] != test.values.shape[1]:
        raise ValueError(
            f"both feature sets must be of one layer, but {train.name} has {train.values.shape[1]} features and "
            f"{test.name} {test.values.shape[1]}."
        )
    shared = set(train.ids) & set(test.ids)
    if shared:
        raise ValueError(
            f"training and test images must differ, but {len(shared)} are in both, pixel for pixel; leave them out of "
            "one of the two."
        )


def _check_training(
    train: Features, labels: Int[np.ndarray, " image"], strengths: Sequence[float], folds: int
) -> None:
    check_finite(train.values, train.name)
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        raise ValueError(
            f"a probe needs at least two classes, but all {len(labels)} images have class {names[0]}."
        )
    if not strengths or min(strengths) <= 0:
        raise ValueError(f"strengths must be positive, and at least one, but got {list(strengths)}.")
    if len(strengths) > 1 and (folds < 2 or counts.min() < folds):
        raise ValueError(
            f"cross-validation needs at least 2 folds and as many images in every class, but got {folds=} and "
            f"{counts.min()} images of class {names[counts.argmin()]}; use fewer folds, or one strength."
        )
    if not np.ptp(train.values, axis=0).any():
        raise ValueError(f"a probe needs features that vary, but all images have the same in {train.name}.")


def _cross_validated(
    train: Features, labels: Int[np.ndarray, " image"], strengths: Sequence[float], folds: int, seed: int
) -> tuple[tuple[float, float], ...]:
    """Share of left-out images named right, for each strength."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=derived_seed(seed, "folds") % 2**32)
    right = np.zeros(len(strengths))
    for inside, outside in splitter.split(train.values, labels):
        for place, strength in enumerate(strengths):
            scaler, model, _ = _fitted(train.values[inside], labels[inside], strength)
            right[place] += (_named(scaler, model, train.values[outside]) == labels[outside]).sum()
    return tuple((float(c), float(count / len(labels))) for c, count in zip(strengths, right, strict=True))


def _fitted(
    values: Float[np.ndarray, "image feature"], labels: Int[np.ndarray, " image"], strength: float
) -> tuple[StandardScaler, LogisticRegression, bool]:
    """Standardise and solve, in float64; and whether the solver arrived."""
    rows = values.astype(np.float64)
    scaler = StandardScaler().fit(rows)
    model = LogisticRegression(C=strength, max_iter=STEPS, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(rows), labels)
    return scaler, model, bool(model.n_iter_.max() < STEPS)


def _named(
    scaler: StandardScaler, model: LogisticRegression, values: Float[np.ndarray, "image feature"]
) -> Int[np.ndarray, " image"]:
    """The class that a probe gives each image."""
    return np.asarray(model.predict(scaler.transform(values.astype(np.float64))))


def _first_of_each(
    labels: Int[np.ndarray, " image"], order: Int[np.ndarray, " image"], count: int
) -> Int[np.ndarray, " chosen"]:
    """The first `count` images of every class in this order."""
    return np.concatenate([order[labels[order] == name][:count] for name in np.unique(labels)])


def _share(
    draws: Float[np.ndarray, " draw"], by_image: Float[np.ndarray, " image"], level: float
) -> Interval:
    found, _ = mean_over_draws(draws, by_image, level)
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
