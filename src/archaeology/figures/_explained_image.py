"""One image as a model sees it, what the model answers, and the maps that say why: what figures of maps are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from archaeology.figures.terms import method_term


@dataclass(frozen=True, eq=False)
class MethodMap:
    """What one method says of the image.

    Attributes:
        method: Its registered name.
        values: Raw; signed shares where the method has them, else >= 0.
        is_signed: Whether values below zero mean "against the class".
        has_evidence: Whether anything speaks for the class; a map without is not drawn.
        looks_at_class: Whether the map would be another for another class.
        marks: Of each judge, higher is better; NaN where it gave none.
    """

    method: str
    values: Float[np.ndarray, "row column"]
    is_signed: bool = False
    has_evidence: bool = True
    looks_at_class: bool = True
    marks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ExplainedImage:
    """A model's answer to one image, with its maps.

    Attributes:
        model: The specimen's name.
        photo: What the model sees, in its own size.
        answers: The likeliest classes with their probabilities, likeliest first.
        target: Name of the class explained.
        probability: That the model gives it.
        maps: One for each method.
        floor: Marks of maps that know nothing, by judge: one for each random map, or what chance is known to get.
    """

    model: str
    photo: UInt8[np.ndarray, "channel height width"]
    answers: tuple[tuple[str, float], ...]
    target: str
    probability: float
    maps: tuple[MethodMap, ...]
    floor: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def beats_chance(self, found: MethodMap, judge: str) -> bool:
        """Whether a map's mark lies above those of all maps that know nothing."""
        floor = [value for value in self.floor.get(judge, ()) if np.isfinite(value)]
        mark = found.marks.get(judge, np.nan)
        return found.has_evidence and bool(floor) and bool(np.isfinite(mark)) and mark > max(floor)


def meaning_of(found: MethodMap) -> str:
    """What a bright place means, and whether the map knows of the class at all."""
    meaning = method_term(found.method).short
    if found.looks_at_class or found.method == "random":
        return meaning
    return ", ".join(filter(None, (meaning, "any class")))
