"""What breaks the two models of a dig: the survey of robustness on some of its images, each part kept when done.

Without labels that both models know there is no right answer that could be lost, so nothing is measured, and the
results say so. How many images are taken follows from what the models cost, unless somebody says how many.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archaeology.core.storage import json_text, sha256_of
from archaeology.dig.budget import affordable
from archaeology.dig.config import DigConfig
from archaeology.dig.labels import ClassMatch, why_no_errors
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.survey import Images
from archaeology.robustness.survey import Depth, Keep, NotApplicableError, survey_robustness
from archaeology.specimens.reordered import reordered
from archaeology.specimens.specimen import Specimen

# What it may cost where nobody says how many images to take, in multiply-adds: minutes on two CPU cores.
BUDGET = {"cpu": 1.6e13, "cuda": 1.6e15}
PASSES_OF_AN_IMAGE = 800  # of each model, backward passes included, for an image that all parts take
FEWEST, MOST = 16, 128


@dataclass(frozen=True)
class Broken:
    """What a dig found out about the robustness of its models.

    Attributes:
        document: The survey's; None where nothing was measured.
        reason: Why nothing was.
    """

    document: dict[str, Any] | None
    reason: str = ""

    def curve_rows(self) -> list[dict[str, Any]]:
        """Accuracy against epsilon for `metrics.parquet`: `model, attack, norm, epsilon, n, accuracy`, its interval."""
        document = self.document or {}
        roles = {name: role for role, name in document.get("roles", {}).items()}
        return [
            {**row, "model": roles[curve["specimen"]], "attack": each["attack"], "norm": each["norm"]}
            for each in document.get("curves", ())
            for curve in each["curves"]
            for row in curve["table"]
        ]


def robustness_count(config: DigConfig, specimens: Mapping[str, Specimen], *, available: int) -> int:
    """How many images to attack: as asked, else what the budget allows, at most 128; 0 below 16."""
    if config.robustness_images is not None:
        return min(config.robustness_images, available)
    quick = affordable(BUDGET, PASSES_OF_AN_IMAGE, *specimens.values())
    return 0 if quick < min(FEWEST, available) else min(quick, MOST, available)


def survey_both(
    specimens: Mapping[str, Specimen],
    prints: Mapping[str, str],
    matches: Mapping[str, ClassMatch],
    images: Images,
    parts: Parts,
    config: DigConfig,
) -> Broken:
    """The survey of both models on some of the images, with what was finished before found again."""
    reason = why_no_errors(
        {specimens[role].name: one for role, one in matches.items()}, images.decoded.labels
    )
    if reason:
        return Broken(None, reason)
    count = robustness_count(config, specimens, available=len(images))
    if count < 2:
        return Broken(None, _why_not(config, len(images)))
    chosen = images.only(images.spread(count, config.seed))
    aligned = [reordered(one, _order(matches[role])) for role, one in specimens.items()]
    depth = Depth().scaled(count)
    labels = sha256_of(chosen.decoded.labels.tobytes(), *(repr(_order(match)) for match in matches.values()))
    known = (*prints.values(), chosen.key(slice(None)), labels, repr(depth), str(config.seed))
    document = survey_robustness(
        aligned,
        chosen.tensor(slice(None)),
        torch.from_numpy(np.ascontiguousarray(chosen.decoded.labels)).long(),
        names=chosen.decoded.ids,
        depth=depth,
        seed=config.seed,
        keep=keeper(parts, known, count),
    )
    return Broken({**document, "roles": dict(zip(specimens, (one.name for one in aligned), strict=True))})


def keeper(
    parts: Parts,
    known: tuple[str, ...],
    count: int,
    *,
    strict: Collection[str] = (),
    stage: str = "robustness",
) -> Keep:
    """What keeps each part of a survey when it is done, and finds it again.

    Args:
        parts: Where.
        known: All that the results depend on, as text.
        count: Images of the survey.
        strict: Parts whose errors are raised; any other that a model spoils, because it cannot be differentiated, say,
            is left out with the reason.
        stage: What the survey is called in the folder of parts.
    """

    def keep(part: str, compute: Callable[[], Any]) -> Any:
        def arrays() -> Arrays:
            try:
                return {"json": np.frombuffer(json_text(compute()).encode(), np.uint8)}
            except ValueError as error:
                if part not in strict and not isinstance(error, NotApplicableError):
                    raise NotApplicableError(str(error)) from error
                raise

        stored = parts.get(f"{stage}-{part}", known, count, arrays)
        return json.loads(stored["json"].tobytes())

    return keep


def _order(match: ClassMatch) -> list[int]:
    assert match.logit is not None
    return match.logit.tolist()


def _why_not(config: DigConfig, available: int) -> str:
    if available < 2:
        return f"there was only {available} image, and a survey of robustness needs at least 2"
    if config.robustness_images is not None:
        return f"robustness_images was {config.robustness_images}, and at least 2 are needed"
    return (
        "attacking models of this size on this device takes long, so it is done when asked for: dig with "
        "--robustness-images 32"
    )
