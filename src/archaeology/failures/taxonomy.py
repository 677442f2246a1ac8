"""What kind of failure is it? Each image named wrong is held against a few rules with thresholds written down.

An image may be of several kinds, or of none. Rules look at the answers of both models, at where the map lies and at
what the picture is like; none looks at the picture itself, so "likely a wrong label" is a suspicion to be checked by
people (a cousin of confident learning, `northcutt2021confident`, which needs answers from cross-validation). Where a
rule does not ask how the model erred it holds for some images named right, too: that share stands beside it, and a kind
that is no more frequent among failures explains none of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from archaeology.core.intervals import Interval, wilson
from archaeology.core.registry import Registry

SURE = 0.9  # probability of the answer from which on it is called sure
UNLIKELY = 0.05  # probability of the label below which nothing speaks for it
TWO_CLASSES, CLOSE = 0.75, 0.25  # mass that answer and label share, and how far they may part
AWAY, ON_OBJECT = 0.8, 1.25  # mass on the object in even shares
TAIL = 0.02  # of the images named right that are as extreme on a side
SIDES: Mapping[str, tuple[str, ...]] = {  # which extremes of an attribute make a picture poor
    "brightness": ("low", "high"),
    "contrast": ("low",),
    "sharpness": ("low",),
}
EXAMPLES = 6


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of every image, named right or wrong.

    Attributes:
        labels: True classes, columns of the probabilities.
        num_classes: Of the data; columns behind them hold answers that the data does not know, each model its own.
        probabilities: Of the model whose failures are sorted.
        other: Of the other model, the same classes.
        object_mass: Of the model's map on the object, in even shares; NaN where unknown.
        attributes: Columns such as brightness; NaN where unknown.
    """

    labels: Int[np.ndarray, " image"]
    num_classes: int
    probabilities: Float[np.ndarray, "_ class"]
    other: Float[np.ndarray, "_ _"]
    object_mass: Float[np.ndarray, " _"]
    attributes: Mapping[str, Float[np.ndarray, " _"]]

    def __post_init__(self) -> None:
        n = len(self.labels)
        lengths = [len(self.probabilities), len(self.other), len(self.object_mass)]
        lengths += [len(values) for values in self.attributes.values()]
        if n == 0 or set(lengths) != {n} or self.probabilities.shape != self.other.shape:
            raise ValueError(
                f"evidence must be of the same images and classes, one image or more, but got {n} labels and columns "
                f"of {lengths} images, {self.probabilities.shape[1]} and {self.other.shape[1]} classes."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def answer(self) -> Int[np.ndarray, " image"]:
        """The likeliest class."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> Float[np.ndarray, " image"]:
        """Its probability."""
        return self.probabilities.max(axis=1)

    @property
    def of_label(self) -> Float[np.ndarray, " image"]:
        """Probability of the true class."""
        return self.probabilities[np.arange(len(self)), self.labels]

    @property
    def wrong(self) -> Bool[np.ndarray, " image"]:
        """Which the model names wrong."""
        return self.answer != self.labels

    @property
    def other_wrong(self) -> Bool[np.ndarray, " image"]:
        """Which the other model names wrong."""
        return self.other.argmax(axis=1) != self.labels


Rule = Callable[[Evidence], tuple[Bool[np.ndarray, " image"], Bool[np.ndarray, " image"]]]


@dataclass(frozen=True)
class Kind:
    """A kind of failure.

    Attributes:
        name: Its registered name.
        title: As a heading.
        rule: When it holds, in words with thresholds.
        holds: Which images it holds for, and for which that can be told.
        asks_error: Whether it asks how the model erred, so that it says nothing of images named right.
    """

    name: str
    title: str
    rule: str
    holds: Rule
    asks_error: bool


kinds: Registry[Kind] = Registry("kind of failure")


def kind_of(name: str, title: str, rule: str, *, asks_error: bool) -> Callable[[Rule], Rule]:
    """Decorator for a rule."""

    def shelve(holds: Rule) -> Rule:
        kinds.register(name)(Kind(name, title, rule, holds, asks_error))
        return holds

    return shelve


def _everywhere(found: Bool[np.ndarray, " image"]) -> tuple[np.ndarray, np.ndarray]:
    return found, np.ones(len(found), dtype=bool)


@kind_of(
    "suspect_label",
    "Likely a wrong label",
    f"both models give the same other class of the data, each with probability {SURE:g} or more, and the label less "
    f"than {UNLIKELY:g}",
    asks_error=True,
)
def suspect_label(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Two models, each sure, agree against the label."""
    same = known.wrong & (known.other.argmax(axis=1) == known.answer) & (known.answer < known.num_classes)
    other_label = known.other[np.arange(len(known)), known.labels]
    sure = (known.confidence >= SURE) & (known.other.max(axis=1) >= SURE)
    return _everywhere(same & sure & (np.maximum(known.of_label, other_label) < UNLIKELY))


@kind_of(
    "ambiguous",
    "Torn between two classes",
    f"answer and label share a probability of {TWO_CLASSES:g} or more and differ by {CLOSE:g} or less",
    asks_error=True,
)
def ambiguous(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """The mass lies on the answer and the label alike."""
    shared, apart = known.confidence + known.of_label, known.confidence - known.of_label
    return _everywhere(known.wrong & (shared >= TWO_CLASSES) & (apart <= CLOSE))


@kind_of(
    "looked_away",
    "Looked beside the object",
    f"the map gives the object less than {AWAY:g} of what an even map would",
    asks_error=False,
)
def looked_away(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Mass on the object is low."""
    is_known = np.isfinite(known.object_mass)
    return is_known & (np.nan_to_num(known.object_mass) < AWAY), is_known


@kind_of(
    "looked_and_erred",
    "Looked at the object, took it for another",
    f"the map gives the object {ON_OBJECT:g} times or more of what an even map would",
    asks_error=False,
)
def looked_and_erred(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Mass on the object is high, and the answer another class all the same."""
    is_known = np.isfinite(known.object_mass)
    return is_known & (np.nan_to_num(known.object_mass) >= ON_OBJECT), is_known


@kind_of(
    "poor_picture",
    "A poor picture",
    f"brightness, contrast or sharpness lies beyond that of all but {100 * TAIL:.0f} % of the images named right, on a "
    "side (dark, bright, flat or blurred)",
    asks_error=False,
)
def poor_picture(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """An attribute is extreme, held against the images named right."""
    found, can_tell = np.zeros(len(known), dtype=bool), np.zeros(len(known), dtype=bool)
    for name, sides in SIDES.items():
        values = known.attributes.get(name)
        if values is None or np.isfinite(values[~known.wrong]).sum() < 1 / TAIL:
            continue  # with fewer, the extreme of those named right is not the tail of anything
        is_known = np.isfinite(values)
        low, high = np.quantile(values[is_known & ~known.wrong], [TAIL, 1 - TAIL])
        can_tell |= is_known
        # Strictly beyond, so that pictures that are all alike are not all extreme.
        found |= is_known & (("low" in sides) & (values < low) | ("high" in sides) & (values > high))
    return found, can_tell


@kind_of(
    "sure_and_wrong", "Sure and wrong", f"the answer has a probability of {SURE:g} or more", asks_error=True
)
def sure_and_wrong(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Nothing in the answer warns."""
    return _everywhere(known.wrong & (known.confidence >= SURE))


@kind_of("shared", "Both models fail", "the other model names it wrong, too", asks_error=False)
def shared(known: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Hard for two models."""
    return _everywhere(known.other_wrong)


@dataclass(frozen=True)
class KindCount:
    """How many failures are of one kind.

    Attributes:
        name: Of the kind.
        count: Failures of that kind.
        share: Of the failures where it can be told, with Wilson's interval.
        among_right: Of the images named right; None where the rule asks how the model erred, or none is named right.
        examples: Rows, the surest answers first.
    """

    name: str
    count: int
    share: Interval
    among_right: Interval | None
    examples: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Failures of one model, sorted.

    Attributes:
        counts: Of every kind that can be told for some failure, in the order of the registry.
        missing: Kinds that cannot, with reasons.
        unexplained: Failures that meet no rule.
        num_failures: All failures.
        n: All images.
        holds: Which kinds hold for each image, named right or wrong.
        reason: Why there is nothing to say; "" where there is.
    """

    counts: tuple[KindCount, ...]
    missing: dict[str, str]
    unexplained: Interval | None
    num_failures: int
    n: int
    holds: dict[str, Bool[np.ndarray, " image"]]
    reason: str = ""

    def of_image(self, row: int) -> tuple[str, ...]:
        """Kinds that an image is of."""
        return tuple(name for name, which in self.holds.items() if which[row])


def sort_failures(known: Evidence) -> Taxonomy:
    """Every failure held against every rule; without counts, with a reason, where no image is named wrong."""
    wrong = known.wrong
    failures = int(wrong.sum())
    if not failures:
        said = f"all {len(known)} images are named right, so there is no failure to sort"
        return Taxonomy((), {}, None, 0, len(known), {}, said)
    counts, missing, holds = [], {}, {}
    for name in kinds:
        kind = kinds.get(name)
        found, can_tell = kind.holds(known)
        if not (can_tell & wrong).any():
            missing[name] = "what it asks is not known for any failure"
            continue
        holds[name] = found & can_tell
        counts.append(_counted(kind, holds[name], can_tell, known))
    explained = np.logical_or.reduce([which & wrong for which in holds.values()])
    rest = wilson(int((wrong & ~explained).sum()), failures)
    return Taxonomy(tuple(counts), missing, rest, failures, len(known), holds)


def _counted(
    kind: Kind,
    found: Bool[np.ndarray, " image"],
    can_tell: Bool[np.ndarray, " image"],
    known: Evidence,
) -> KindCount:
    wrong = known.wrong
    of_failures, of_right = can_tell & wrong, can_tell & ~wrong
    among_right = None
    if not kind.asks_error and of_right.any():
        among_right = wilson(int((found & of_right).sum()), int(of_right.sum()))
    rows = np.flatnonzero(found & of_failures)
    surest = rows[np.argsort(-known.confidence[rows], kind="stable")][:EXAMPLES]
    count = len(rows)
    return KindCount(
        kind.name, count, wilson(count, int(of_failures.sum())), among_right, tuple(surest.tolist())
    )
