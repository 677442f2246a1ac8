"""What ways of learning have given, side by side: numbers on the same images, paired differences, and sentences.

A difference is said only where a paired test on the same images finds it after Holm's correction over all questions
asked, of all measures and all pairs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from archaeology.core.intervals import Interval

LEVEL = 0.05
Role = Literal["learnt", "random", "pixels"]


@dataclass(frozen=True)
class Measure:
    """Something that every subject is asked.

    Attributes:
        name: Short, for tables.
        title: In words.
        unit: "%" for shares of images, "points" for differences of shares.
        more_is_better: None where neither is.
    """

    name: str
    title: str
    unit: str
    more_is_better: bool | None


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("k-NN", "images named rightly by their nearest neighbours", "%", True),
        Measure("linear probe", "images named rightly by a linear probe", "%", True),
        Measure("few-shot", "images named rightly by a probe that saw a few of each class", "%", True),
        Measure("transfer", "images of another data set named rightly by a probe", "%", True),
        Measure("attention spread", "entropy of what is read, of the largest there can be", "%", None),
        Measure("attention distance", "mean distance that patches look, of the image's side", "%", None),
        Measure("on the object", "attention on the object beyond its share of the image", "points", True),
        Measure("attacked", "images still named rightly under attack", "%", True),
        Measure("corrupted", "corrupted images named rightly", "%", True),
        Measure("shape share", "decisions by shape, of those by shape or texture", "%", None),
    )
}


@dataclass(frozen=True)
class Subject:
    """Whoever is asked.

    Attributes:
        name: Different for each.
        role: "learnt", "random" (the same architecture with random weights) or "pixels".
        way: How it learned: "supervised", "self-distilled", "masked", "image-text"; "unknown" where its facts do not
            tell; "none" for floors.
        twin: Name of its floor with random weights; None for floors.
        features: What is read of it, in words.
        num_features: How many numbers that is.
    """

    name: str
    role: Role
    way: str
    twin: str | None
    features: str
    num_features: int

    @property
    def is_without_labels(self) -> bool:
        """Whether no label taught its features."""
        return self.way in ("self-distilled", "masked", "image-text")


@dataclass(frozen=True, eq=False)
class Value:
    """One subject's answer to one question.

    Attributes:
        measure: Name of the measure.
        subject: Name of the subject.
        interval: The number.
        samples: One for each image, whose mean is the number; differences are tested on them.
        draws: The number in each draw of labelled images, the same for all subjects; None where nothing was drawn.
    """

    measure: str
    subject: str
    interval: Interval
    samples: Float[np.ndarray, " image"]
    draws: Float[np.ndarray, " draw"] | None = None


@dataclass(frozen=True)
class Difference:
    """Two subjects on the same images.

    Attributes:
        measure: Name of the measure.
        first: Name of a subject.
        second: Name of another.
        against: What the second is to the first: "reference", "random" or "pixels".
        interval: First less second, bootstrapped over images; Student's over draws and images where labels were drawn.
        p_value: By random signs; likewise.
        p_corrected: After Holm, over all differences.
    """

    measure: str
    first: str
    second: str
    against: str
    interval: Interval
    p_value: float
    p_corrected: float

    @property
    def side(self) -> int:
        """1 where the first surely has more, -1 where less, else 0."""
        if not self.p_corrected < LEVEL or self.interval.low <= 0 <= self.interval.high:
            return 0
        return 1 if self.interval.value > 0 else -1


@dataclass(frozen=True, eq=False)
class LearningComparison:
    """Everything that is known of some ways of learning beside each other.

    Attributes:
        data: What the images are.
        reference: Name of the subject that others are held against.
        subjects: Who was asked, floors last.
        values: What came out; a measure that a subject has not is not there.
        differences: Of every learnt subject from the reference, from its twin and from pixels.
        settings: Numbers of images, attack and so on.
        notes: What could not be asked and why, and what must be kept in mind.
    """

    data: str
    reference: str
    subjects: tuple[Subject, ...]
    values: tuple[Value, ...]
    differences: tuple[Difference, ...]
    settings: Mapping[str, Any]
    notes: tuple[str, ...]

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Those that somebody has an answer to, in their order."""
        asked = {value.measure for value in self.values}
        return tuple(measure for name, measure in MEASURES.items() if name in asked)

    def value(self, measure: str, subject: str) -> Value | None:
        """One answer, or None."""
        found = [each for each in self.values if (each.measure, each.subject) == (measure, subject)]
        return found[0] if found else None

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """What all this shows, in sentences behind tests."""
        from archaeology.dig.learning_words import findings  # which reads these classes

        return findings(self)

    def numbers(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "data": self.data,
            "reference": self.reference,
            "settings": dict(self.settings),
            "subjects": [asdict(subject) for subject in self.subjects],
            "measures": [asdict(measure) for measure in self.measures],
            "values": [
                {"measure": each.measure, "subject": each.subject, **asdict(each.interval)}
                for each in self.values
            ],
            "differences": [{**asdict(each), "side": each.side} for each in self.differences],
            "num_questions": len(self.differences),
            "findings": list(self.findings),
            "notes": list(self.notes),
        }
