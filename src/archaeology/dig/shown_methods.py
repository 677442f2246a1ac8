"""Which methods' maps are shown of every image, and how to get those that a model allows at the price of few passes."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import Record, capture
from archaeology.core.errors import SelfCheckError
from archaeology.core.shapes import Heatmap, Label
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import Method, Needs, explanations, record_for
from archaeology.specimens.specimen import Specimen

# A pass or a few each, most of them out of one record; others take tens of passes (occlusion, integrated gradients,
# SmoothGrad) or minutes of a processor (attention flow).
CHEAP = (
    "rollout",
    "relevance",
    "attention_times_gradient",
    "gradient_rollout",
    "legrad",
    "raw_attention",
    "grad_cam",
    "grad_cam_plus_plus",
    "lrp",
    "gradient",
)
MOST_PLACES = 32
MOST_GRADIENT_TOKENS = 1024  # gradients of all patterns of more tokens fill gigabytes for a single image
PAIRS_AT_ONCE = 4 * 200**2  # pairs of tokens in a layer of all images that are worked on together


def cheap_methods(specimen: Specimen) -> tuple[str, ...]:
    """Those of few passes that could speak of such a model at all."""
    attends = specimen.kind == "transformer"
    return tuple(name for name in CHEAP if attends or not explanations.get(name).needs_attention)


class Explainer:
    """Draws maps of some images of one model, running it once for all methods that can share a record.

    Attributes:
        specimen: The model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image.
        missing: Methods that the model does not allow, and why.
    """

    def __init__(self, specimen: Specimen, images: Tensor, target: Label, *records: Record) -> None:
        """Draw from these records of the same images, which hold patterns without gradients, where that is enough."""
        self.specimen, self.images, self.target = specimen, images, target
        self.missing: dict[str, str] = {}
        self._records = [(Needs(patterns=True), record) for record in records]

    def draw(self, names: Sequence[str]) -> dict[str, Explanation]:
        """The maps of those methods that the model allows."""
        found: dict[str, Explanation] = {}
        for name in sorted(names, key=lambda name: -_appetite(explanations.get(name))):
            try:
                found[name] = self._drawn(name)
            except (ValueError, SelfCheckError) as error:
                self.missing[name] = str(error)
        return {name: found[name] for name in names if name in found}

    def _drawn(self, name: str) -> Explanation:
        method, specimen = explanations.get(name), self.specimen
        if method.needs_attention and specimen.kind != "transformer":
            raise ValueError(f"it reads attention, and {specimen.name} has none.")
        needs = method.needs
        if needs is None:
            return method.draw(specimen, self.images, self.target)
        tokens = 0 if specimen.layout is None else specimen.layout.num_tokens
        if needs.pattern_gradients and tokens > MOST_GRADIENT_TOKENS:
            raise ValueError(
                f"it needs the gradient of every pattern, which takes too much memory for {tokens:,} tokens."
            )
        record = next((record for held, record in self._records if held.covers(needs)), None)
        if record is None:
            record = record_for(needs, specimen, self.images, self.target)
            self._records.append((needs, record))
        return method.draw(record)


def _appetite(method: Method) -> int:
    needs = method.needs
    return 0 if needs is None else sum(vars(needs).values())


def images_at_once(specimen: Specimen, most: int) -> int:
    """How many images to explain together, few where patterns are large."""
    tokens = 1 if specimen.layout is None else specimen.layout.num_tokens
    return max(1, min(most, PAIRS_AT_ONCE // tokens**2))


def explain_possible(
    names: Sequence[str], specimen: Specimen, images: Tensor, target: Label | None = None, most: int = 10
) -> tuple[dict[str, Explanation], dict[str, str]]:
    """Maps by the methods that a model allows, some images at a time, and why it does not allow the others.

    Args:
        names: Registered methods.
        specimen: Any model.
        images: Floats in [0, 1] or 8 bit.
        target: Class to explain for each image; the predicted one if None.
        most: Images at a time.
    """
    if target is None:
        target = capture(specimen, images, patterns=False).target
    missing: dict[str, str] = {}
    parts: list[Mapping[str, Explanation]] = []
    for rows in torch.arange(len(images)).split(images_at_once(specimen, most)):
        explainer = Explainer(specimen, images[rows], target[rows.to(target.device)])
        parts.append(explainer.draw(names))
        missing |= explainer.missing
    return {name: joined([part[name] for part in parts]) for name in names if name not in missing}, missing


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Maps of one method of several parts of a batch as one."""
    first = parts[0]
    signed = [part.attribution for part in parts if part.attribution is not None]
    return Explanation(
        torch.cat([part.heatmap for part in parts]),
        first.method,
        first.parameters,
        first.formula,
        attribution=torch.cat(signed) if signed else None,
    )


def coarse(heatmap: Heatmap, most: int = MOST_PLACES) -> Float[Tensor, "batch down across"]:
    """A map of pixels averaged over squares, so that it has at most so many rows and columns; of patches as it is."""
    if max(heatmap.shape[1:]) <= most:
        return heatmap
    factor = math.ceil(max(heatmap.shape[1:]) / most)
    size = (math.ceil(heatmap.shape[1] / factor), math.ceil(heatmap.shape[2] / factor))
    return F.adaptive_avg_pool2d(heatmap[:, None], size)[:, 0]
