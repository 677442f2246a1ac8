"""Do the names in the data and the names in the model mean the same? Only then can an answer be right or wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class ClassMatch:
    """Which logit each class of the data stands for.

    Attributes:
        logit: One index a class of the data, or None where the names do not match.
        reason: How they were matched, or why they could not be; for people.
    """

    logit: Int[np.ndarray, " classes"] | None
    reason: str


def plain_name(name: str) -> str:
    """A class name without case, underscores and all but the first of several synonyms."""
    return re.sub(r"[\s_\-]+", " ", name.split(",")[0]).strip().lower()


def why_no_errors(matches: Mapping[str, ClassMatch], labels: Int[np.ndarray, " image"]) -> str:
    """Why answers of these models cannot be wrong on these images; "" where they can.

    Args:
        matches: By the name of the model.
        labels: Classes of the data; -1 where an image has none.
    """
    for name, match in matches.items():
        if match.logit is None:
            return f"there are no labels to be wrong about: for {name}, {match.reason}"
        if len(set(match.logit.tolist())) < len(match.logit):
            return f"two classes of the data are one for {name}; rename one"
    without = int((labels < 0).sum())
    if without:
        return f"there are no labels to be wrong about: {without} of {len(labels)} images have none"
    return ""


def match_classes(data: Sequence[str], model: Sequence[str]) -> ClassMatch:
    """Match the classes of the data with those of a model by name, or by place where the model has no real names.

    Args:
        data: Class names of the data; empty where it has no labels.
        model: Class names of the model; empty where it has none.
    """
    if not data:
        return ClassMatch(None, "the data has no labels")
    if not model:
        return ClassMatch(None, "the model names no classes")
    if [plain_name(name) for name in data] == [plain_name(name) for name in model]:
        return ClassMatch(np.arange(len(data)), "classes matched by name")
    places = {plain_name(name): place for place, name in enumerate(model)}
    missing = [name for name in data if plain_name(name) not in places]
    if not missing:
        return ClassMatch(np.array([places[plain_name(name)] for name in data]), "classes matched by name")
    nameless = all(re.fullmatch(r"(class|label)?[ _]?\d+", name.lower()) for name in model)
    if nameless and len(data) == len(model):
        return ClassMatch(np.arange(len(data)), "classes matched by place: the model has no names")
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return ClassMatch(
        None,
        f"{len(missing)} of {len(data)} classes of the data are unknown to the model ({shown}); rename the folders "
        "to the model's class names to have accuracy measured",
    )
