"""Groups of images that a model fails on, found by nobody's list: a mixture finds them on one half, the other judges.

The mixture of Domino (`eyuboglu2022domino`): each slice is a Gaussian over features, with a share of each class among
its labels and among its answers, so images that lie near each other and fail in the same way come together.
scikit-learn's mixture has no categorical part, so the EM steps are ours.

Three differences are there so that no slice is claimed by chance. Slices are found on one half of the images and tested
on the other (Fisher's exact test within classes, so that a hard class is no slice; Holm over all slices). There an
image is sorted by its features alone: sorted by the answer too, a slice of wrong answers would be wrong by
construction. And for the same reason features should not be those of the model that is judged, whose answers can be
read off them: a dig takes the other model's.

A fourth is there so that slices are found at all. Where classes lie far apart, Domino's slices are whole classes, and
of a whole class nothing can be asked within classes. So the mean of its class is taken off each image's features, and
instead of label and answer the mixture gets only how probable the true class was to the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special, stats  # pyright: ignore[reportMissingTypeStubs]
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from archaeology.core.intervals import Interval, newcombe, wilson
from archaeology.core.many import corrected
from archaeology.core.names import plural
from archaeology.core.seeding import derived_seed, numpy_generator
from archaeology.failures.gatherings import within_labels

LEVEL = 0.05  # of all slices together
COMPONENTS, IMAGES_OF_A_SLICE = 10, 20  # most slices, and images of the finding half for each
DIMENSIONS = 10  # of the features after PCA
ERROR_WEIGHT = 10.0  # of label and answer against features, Domino's default
TRUTH_WEIGHT = 1.0  # of the true class's probability against features that their classes' means are taken off
FEWEST_TESTED = 8  # images of a slice in the testing half; fewer are not tested
FLOOR, SMOOTHING = 1e-3, 1e-2  # added to variances (features have mean variance 1) and to counts of classes
STEPS, TOLERANCE = 200, 1e-6
EXAMPLES = 4
WORDS = {  # what more and less of an attribute are called
    "brightness": ("brighter", "darker"),
    "contrast": ("of more contrast", "of less contrast"),
    "saturation": ("more colourful", "less colourful"),
    "sharpness": ("sharper", "less sharp"),
    "edge_density": ("with more edges", "with fewer edges"),
    "object_size": ("with a larger object", "with a smaller object"),
    "object_place": ("with the object farther from the centre", "with the object nearer to the centre"),
}


@dataclass(frozen=True, eq=False)
class ErrorAwareMixture:
    """Slices as distributions.

    Attributes:
        weight: Share of images in each slice.
        mean: Of the features.
        variance: Of each feature, on its own.
        label: Share of each class among the labels.
        answer: Share of each class among the answers.
        emphasis: How much a label and an answer count against the features.
        log_likelihood: Weighted, mean over images, after each step; never falls but by rounding.
    """

    weight: Float[np.ndarray, " slice"]
    mean: Float[np.ndarray, "slice feature"]
    variance: Float[np.ndarray, "slice feature"]
    label: Float[np.ndarray, "slice class"]
    answer: Float[np.ndarray, "slice class"]
    emphasis: float
    log_likelihood: tuple[float, ...]

    def joint(
        self,
        features: Float[np.ndarray, "image feature"],
        labels: Int[np.ndarray, " image"],
        probabilities: Float[np.ndarray, "image class"] | None = None,
    ) -> Float[np.ndarray, "image slice"]:
        """Log of weight times density; without the answers where `probabilities` is None."""
        found = np.log(self.weight) + log_gaussian(features, self.mean, self.variance)
        found = found + self.emphasis * np.log(self.label.T[labels])
        if probabilities is not None:
            found = found + self.emphasis * probabilities @ np.log(self.answer.T)
        return found

    def members(
        self, features: Float[np.ndarray, "image feature"], labels: Int[np.ndarray, " image"]
    ) -> Int[np.ndarray, " image"]:
        """The likeliest slice of each image by what is known before the answer: its features and its label."""
        return self.joint(features, labels).argmax(axis=1)


def log_gaussian(
    features: Float[np.ndarray, "image feature"],
    mean: Float[np.ndarray, "slice feature"],
    variance: Float[np.ndarray, "slice feature"],
) -> Float[np.ndarray, "image slice"]:
    """Log density of Gaussians whose features vary independently."""
    # The square is multiplied out, so that nothing as large as images times slices times features is made.
    away = features**2 @ (1 / variance).T - 2 * features @ (mean / variance).T
    return -0.5 * (away + (mean**2 / variance + np.log(2 * np.pi * variance)).sum(axis=1))


def fit_mixture(
    features: Float[np.ndarray, "image feature"],
    labels: Int[np.ndarray, " image"],
    probabilities: Float[np.ndarray, "image class"],
    components: int,
    *,
    emphasis: float = ERROR_WEIGHT,
    seed: int = 0,
) -> ErrorAwareMixture:
    """Expectation and maximization in turn, from the groups that k-means finds, until the likelihood stands still.

    Args:
        features: Finite; of about unit variance, since `FLOOR` is added to variances.
        labels: True classes, columns of `probabilities`.
        probabilities: What the model answers.
        components: How many slices, at least 1.
        emphasis: How much label and answer count, at least 0; 0 leaves a plain Gaussian mixture.
        seed: Of k-means.

    Raises:
        ValueError: If there are fewer images than slices, or a number is not finite or impossible.
    """
    if not 1 <= components <= len(features):
        raise ValueError(
            f"a mixture needs at least one image for each of its slices, but got {len(features)} images and "
            f"{components=}; take fewer slices or more images."
        )
    if not (np.isfinite(features).all() and np.isfinite(probabilities).all()) or emphasis < 0:
        raise ValueError(
            f"a mixture needs finite features and probabilities and an emphasis of 0 or more, but got {emphasis=} and "
            f"{int((~np.isfinite(features)).sum())} features that are not finite; mend or drop those images."
        )
    hot = np.eye(probabilities.shape[1])[labels]
    # Squared distance of two one-hot vectors is 2: a whole class apart counts as much as `emphasis` of features.
    scale = np.sqrt(emphasis)
    joined = np.concatenate([features, scale * hot, scale * probabilities], axis=1)
    start = KMeans(components, n_init=4, random_state=derived_seed(seed, "slices") % 2**32)  # pyright: ignore[reportArgumentType]
    groups = np.asarray(start.fit_predict(joined))
    shares = np.eye(components)[groups]
    history: list[float] = []
    while True:
        found = maximized(shares, features, hot, probabilities, emphasis, tuple(history))
        joint = found.joint(features, labels, probabilities)
        total = np.asarray(special.logsumexp(joint, axis=1))
        history.append(float(total.mean()))
        still = len(history) > 1 and history[-1] - history[-2] < TOLERANCE
        if still or len(history) >= STEPS:
            return maximized(shares, features, hot, probabilities, emphasis, tuple(history))
        shares = np.exp(joint - total[:, None])


def maximized(
    shares: Float[np.ndarray, "image slice"],
    features: Float[np.ndarray, "image feature"],
    hot: Float[np.ndarray, "image class"],
    probabilities: Float[np.ndarray, "image class"],
    emphasis: float,
    history: tuple[float, ...] = (),
) -> ErrorAwareMixture:
    """The slices that make these shares of images in slices likeliest."""
    count = shares.sum(axis=0) + 10 * np.finfo(float).eps
    mean = shares.T @ features / count[:, None]
    square = shares.T @ features**2 / count[:, None]
    label, answer = (shares.T @ one + SMOOTHING for one in (hot, probabilities))
    return ErrorAwareMixture(
        weight=count / count.sum(),
        mean=mean,
        variance=np.maximum(square - mean**2, 0) + FLOOR,
        label=label / label.sum(axis=1, keepdims=True),
        answer=answer / answer.sum(axis=1, keepdims=True),
        emphasis=emphasis,
        log_likelihood=history,
    )


@dataclass(frozen=True)
class AttributeGap:
    """By how much the images of a slice differ from all others in one attribute.

    Attributes:
        name: Of the attribute.
        inside: Mean in the slice.
        outside: Mean of the others.
        p_corrected: Mann and Whitney's test, Holm over attributes and slices.
    """

    name: str
    inside: float
    outside: float
    p_corrected: float

    @property
    def words(self) -> str:
        """As in "darker (0.21 instead of 0.45)"."""
        more, less = WORDS.get(
            self.name, (f"of more {self.name.replace('_', ' ')}", f"of less {self.name.replace('_', ' ')}")
        )
        return f"{more if self.inside > self.outside else less} ({self.inside:.2g} instead of {self.outside:.2g})"


@dataclass(frozen=True)
class Slice:
    """Some images that lie near each other, judged on the half that they were not found on.

    Attributes:
        num_found: Images in the half that it was found on.
        n: Images in the half that it is tested on.
        accuracy: Share named right among these.
        rest: Share named right among all others of that half.
        gap: `accuracy` less `rest`.
        p_value: Fisher's exact test that it is not named right less often than others of the same classes.
        p_corrected: Among all slices (Holm).
        label: The most frequent label in it, and which share of its images have it.
        label_share: Likewise.
        answer: The most frequent wrong answer; None without one.
        answer_count: How often.
        attributes: What its images differ in, the surest first.
        examples: Rows of images nearest to its middle, wrong ones first.
    """

    num_found: int
    n: int
    accuracy: Interval
    rest: Interval
    gap: Interval
    p_value: float
    p_corrected: float
    label: int
    label_share: float
    answer: int | None
    answer_count: int
    attributes: tuple[AttributeGap, ...]
    examples: tuple[int, ...]

    @property
    def is_claimed(self) -> bool:
        """Whether it is named right less often than others of its classes, by the p-value corrected over slices."""
        return self.p_corrected < LEVEL


@dataclass(frozen=True)
class SliceSurvey:
    """All slices of one model's failures.

    Attributes:
        slices: Those that could be tested, the worst first: with enough images, and others of their classes beside.
        num_components: How many were looked for.
        num_found_on: Images of the first half.
        num_tested_on: Of the other.
        reason: Why there is nothing to say; "" where there is.
    """

    slices: tuple[Slice, ...]
    num_components: int
    num_found_on: int
    num_tested_on: int
    reason: str = ""

    @property
    def claimed(self) -> tuple[Slice, ...]:
        """Slices that are worse for more than chance."""
        return tuple(one for one in self.slices if one.is_claimed)


def find_slices(
    features: Float[np.ndarray, "image feature"],
    labels: Int[np.ndarray, " label"],
    probabilities: Float[np.ndarray, "answer class"],
    *,
    attributes: Mapping[str, Float[np.ndarray, " _"]] | None = None,
    components: int | None = None,
    seed: int = 0,
) -> SliceSurvey:
    """Slices of a model's failures, found on one half of the images and tested on the other.

    Args:
        features: Of every image, best not of the model judged (see above).
        labels: True classes, columns of `probabilities`.
        probabilities: Of the model judged.
        attributes: Columns that slices are described by, one number for each image; NaN where unknown.
        components: Slices to look for; as many as images allow, at most 10, if None.
        seed: Of the halves and of k-means.

    Returns:
        The survey; without slices and with a reason where no image or every image is named wrong, or there are too few.

    Raises:
        ValueError: If inputs are of different lengths, a number is not finite, or there are fewer images than slices.
    """
    columns = dict(attributes or {})
    _check(features, labels, probabilities, columns)
    right = probabilities.argmax(axis=1) == labels
    first, second = halves(right, seed)
    count = min(COMPONENTS, len(first) // IMAGES_OF_A_SLICE) if components is None else components
    if components is not None and components > len(first):
        raise ValueError(
            f"there must be more images than slices in each half, but got {len(first)} images and {components=}; look "
            "for fewer slices or take more images."
        )
    reason = _nothing_to_say(right, count)
    if reason:
        return SliceSurvey((), count, len(first), len(second), reason)
    apart = without_class_means(features, labels, first)
    if np.allclose(apart[first], 0):
        said = f"in the {len(first)} images that slices are found on, none differs from the mean of its class"
        return SliceSurvey((), count, len(first), len(second), said)
    reduced = reduced_features(apart, first)
    no_class = np.zeros_like(labels)
    mixture = fit_mixture(
        reduced[first],
        no_class[first],
        _true_or_not(probabilities, labels)[first],
        count,
        emphasis=TRUTH_WEIGHT,
        seed=seed,
    )
    found_in = mixture.members(reduced[first], no_class[first])
    member = mixture.members(reduced[second], no_class[second])
    density = log_gaussian(reduced[second], mixture.mean, mixture.variance)
    sizes = np.bincount(member, minlength=count)
    large = [place for place in range(count) if sizes[place] >= FEWEST_TESTED]
    tested = [place for place in large if is_comparable(member == place, labels[second])]
    inside = [member == place for place in tested]
    p_values = np.array([within_labels(right[second], one, labels[second]) for one in inside])
    strict = corrected(p_values)
    gaps = _attribute_gaps({name: values[second] for name, values in columns.items()}, inside)
    answer = probabilities.argmax(axis=1)
    made = [
        _slice(
            np.flatnonzero(one),
            second,
            labels,
            answer,
            num_found=int((found_in == place).sum()),
            p_values=(float(p), float(p_strict)),
            near=density[:, place],
            attributes=gap,
        )
        for place, one, p, p_strict, gap in zip(tested, inside, p_values, strict, gaps, strict=True)
    ]
    ordered = tuple(sorted(made, key=lambda one: (one.p_corrected, one.gap.value)))
    return SliceSurvey(ordered, count, len(first), len(second), "" if made else _not_tested(len(large)))


def halves(
    right: Bool[np.ndarray, " image"], seed: int = 0
) -> tuple[Int[np.ndarray, " found"], Int[np.ndarray, " tested"]]:
    """Rows of two halves with equally many failures, drawn at random, each in order."""
    generator = numpy_generator(seed, "halves of slices", len(right))
    order = np.concatenate([generator.permutation(np.flatnonzero(right == kind)) for kind in (False, True)])
    return np.sort(order[::2]), np.sort(order[1::2])


def without_class_means(
    features: Float[np.ndarray, "image feature"],
    labels: Int[np.ndarray, " image"],
    rows: Int[np.ndarray, " row"],
) -> Float[np.ndarray, "image feature"]:
    """How each image differs from its class; means are those of the images in `rows`, of all where a class has none."""
    means = np.tile(features[rows].mean(axis=0), (int(labels.max()) + 1, 1))
    for one in np.unique(labels[rows]):
        means[one] = features[rows[labels[rows] == one]].mean(axis=0)
    return features - means[labels]


def _true_or_not(
    probabilities: Float[np.ndarray, "image class"], labels: Int[np.ndarray, " image"]
) -> Float[np.ndarray, "image 2"]:
    """How probable the true class was to the model, and all others together."""
    true = probabilities[np.arange(len(labels)), labels]
    return np.stack([true, np.clip(probabilities.sum(axis=1) - true, 0, None)], axis=1)


def is_comparable(inside: Bool[np.ndarray, " image"], labels: Int[np.ndarray, " image"]) -> bool:
    """Whether some class has images inside and beside: of whole classes nothing can be said within classes."""
    return bool(np.isin(labels[inside], labels[~inside]).any())


def reduced_features(
    features: Float[np.ndarray, "image feature"], rows: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "image dimension"]:
    """The directions in which the images in `rows` vary most, scaled to a mean variance of 1 there."""
    wanted = min(DIMENSIONS, features.shape[1], len(rows) - 1)
    made = PCA(wanted, svd_solver="full").fit(features[rows])
    scores = made.transform(features)
    spread = float(np.sqrt(scores[rows].var(axis=0).mean()))
    return np.asarray(scores / (spread if spread > 0 else 1.0), dtype=np.float64)


def _slice(
    inside: Int[np.ndarray, " member"],
    second: Int[np.ndarray, " tested"],
    labels: Int[np.ndarray, " image"],
    answer: Int[np.ndarray, " image"],
    *,
    num_found: int,
    p_values: tuple[float, float],
    near: Float[np.ndarray, " tested"],
    attributes: tuple[AttributeGap, ...],
) -> Slice:
    rows = second[inside]
    right = answer[second] == labels[second]
    hits, others = int(right[inside].sum()), int(right.sum() - right[inside].sum())
    names, counts = np.unique(labels[rows], return_counts=True)
    wrong, times = np.unique(answer[rows][~right[inside]], return_counts=True)
    order = np.lexsort((-near[inside], right[inside]))  # wrong ones first, then the nearest
    return Slice(
        num_found=num_found,
        n=len(rows),
        accuracy=wilson(hits, len(rows)),
        rest=wilson(others, len(second) - len(rows)),
        gap=newcombe(hits, len(rows), others, len(second) - len(rows)),
        p_value=p_values[0],
        p_corrected=p_values[1],
        label=int(names[counts.argmax()]),
        label_share=float(counts.max() / len(rows)),
        answer=int(wrong[times.argmax()]) if len(wrong) else None,
        answer_count=int(times.max()) if len(wrong) else 0,
        attributes=attributes,
        examples=tuple(rows[order[:EXAMPLES]].tolist()),
    )


def _attribute_gaps(
    columns: Mapping[str, Float[np.ndarray, " image"]], inside: Sequence[Bool[np.ndarray, " image"]]
) -> list[tuple[AttributeGap, ...]]:
    """Attributes in which each slice differs from the rest after correction for all that were asked."""
    asked: list[tuple[int, str, float, float, float]] = []
    for place, some in enumerate(inside):
        for name, values in columns.items():
            known = np.isfinite(values)
            one, other = values[some & known], values[~some & known]
            if len(one) < FEWEST_TESTED or len(other) < FEWEST_TESTED or np.ptp(values[known]) == 0:
                continue
            p = float(stats.mannwhitneyu(one, other).pvalue)  # pyright: ignore
            asked.append((place, name, float(one.mean()), float(other.mean()), p))
    strict = corrected(np.array([row[-1] for row in asked], dtype=np.float64))
    found: list[list[AttributeGap]] = [[] for _ in inside]
    for (place, name, one, other, _), p in zip(asked, strict.tolist(), strict=True):
        if p < LEVEL:
            found[place].append(AttributeGap(name, one, other, p))
    return [tuple(sorted(some, key=lambda gap: gap.p_corrected)) for some in found]


def _nothing_to_say(right: Bool[np.ndarray, " image"], count: int) -> str:
    if right.all():
        return f"all {len(right)} images are named right, so there is no failure to group"
    if not right.any():
        return f"all {len(right)} images are named wrong, so no slice can be worse than the rest"
    if count < 2:
        return (
            f"{len(right)} images are too few to find slices on one half and test them on the other; "
            f"{4 * IMAGES_OF_A_SLICE} or more are needed"
        )
    return ""


def _not_tested(num_large: int) -> str:
    """Why no slice was tested, where so many had images enough."""
    if not num_large:
        return f"no slice has {FEWEST_TESTED} images or more in the half that tests it"
    return (
        f"{plural(num_large, 'slice')} of enough images in the half that tests them, but of whole classes alone, so "
        "that there are no others of their classes to compare with"
    )


def _check(
    features: Float[np.ndarray, "image feature"],
    labels: Int[np.ndarray, " label"],
    probabilities: Float[np.ndarray, "answer class"],
    columns: Mapping[str, Float[np.ndarray, " _"]],
) -> None:
    lengths = {"features": len(features), "labels": len(labels), "probabilities": len(probabilities)}
    lengths |= {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or len(labels) < 2:
        raise ValueError(
            f"slices need features, labels, probabilities and attributes of the same images, two or more, but got "
            f"{lengths}."
        )
    if not np.isfinite(features).all():
        raise ValueError(
            "slices need finite features, but some are NaN or infinite; drop or mend those images."
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"labels must be columns of probabilities, 0 to {probabilities.shape[1] - 1}, but got "
            f"{int(labels.min())} to {int(labels.max())}."
        )
