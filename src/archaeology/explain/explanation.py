"""An explanation is a map of the image saying how much each patch counted, with the formula that made it.

Maps keep their raw values: nothing is stretched to [0, 1] per image, so that two maps can be compared and
an empty map stays empty instead of becoming noise blown up to full contrast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.capture.record import Record
from archaeology.core.registry import Registry
from archaeology.core.shapes import Heatmap


@dataclass(frozen=True, eq=False)
class Explanation:
    """One heat map for each image of a record.

    Attributes:
        heatmap: How much each patch counted; >= 0, not normalised, on the grid of the layer that was read.
        method: The registered name of the method.
        parameters: What it was called with, defaults included.
        formula: What was computed, in plain text, to be printed under the map.
        target: The class explained, per image, or None where the method does not look at a class.
    """

    heatmap: Heatmap
    method: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    formula: str = ""
    target: Int[Tensor, " batch"] | None = None

    @property
    def has_evidence(self) -> Bool[Tensor, " batch"]:
        """Whether each map says anything: some value is above zero and all are finite.

        A map without evidence must be shown as "no positive evidence", never drawn as if it meant something.
        """
        flat = self.heatmap.flatten(1)
        return (flat.amax(dim=1) > 0) & torch.isfinite(flat).all(dim=1)


ExplanationMethod = Callable[..., Explanation]
explanations: Registry[ExplanationMethod] = Registry("explanation method")


def explain(name: str, record: Record, **parameters: object) -> Explanation:
    """The explanation that method `name` draws from `record`.

    Args:
        name: A registered method, for example "rollout"; see `explanations.names()`.
        record: What `capture` returned.
        parameters: Passed on to the method; each documents its own.

    Raises:
        UnknownNameError: If no method has this name.
    """
    return explanations.get(name)(record, **parameters)
