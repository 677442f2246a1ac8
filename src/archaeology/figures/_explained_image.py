"""One image as a model sees it, what the model answers, and the maps that say why: what figures of maps are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

# What a method is called in words, and what a bright place in its map means, by default.
WORDS: dict[str, tuple[str, str]] = {
    "attention_flow": ("Attention flow", "most that can flow through"),
    "attention_times_gradient": ("Attention \N{MULTIPLICATION SIGN} gradient", "looked at, and it helps"),
    "grad_cam": ("Grad-CAM", "late features that raise it"),
    "grad_cam_plus_plus": ("Grad-CAM++", "late features that raise it"),
    "gradient": ("Gradient", "pixels it is touchy about"),
    "gradient_rollout": ("Gradient rollout", "helpful attention, all layers"),
    "integrated_gradients": ("Integrated gradients", "each pixel's share of the logit"),
    "legrad": ("LeGrad", "where looking more would help"),
    "lrp": ("LRP", "the logit handed back to pixels"),
    "occlusion": ("Occlusion", "how far the logit falls without it"),
    "random": ("Random map", "knows nothing"),
    "raw_attention": ("Raw attention", "where the last layer looks"),
    "relevance": ("Relevance (Chefer)", "helpful attention, all layers"),
    "rollout": ("Attention rollout", "attention through all layers"),
    "smooth_grad": ("SmoothGrad", "gradient, averaged over noise"),
}


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


def words_of(method: str) -> str:
    """A method's name in words."""
    return WORDS[method][0] if method in WORDS else method.replace("_", " ").capitalize()


def meaning_of(found: MethodMap) -> str:
    """What a bright place means, and whether the map knows of the class at all."""
    meaning = WORDS[found.method][1] if found.method in WORDS else ""
    if found.looks_at_class or found.method == "random":
        return meaning
    return ", ".join(filter(None, (meaning, "any class")))
