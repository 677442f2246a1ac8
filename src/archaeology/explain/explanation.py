"""An explanation is a map of the image saying how much each patch counted, with the formula that made it.

Maps keep their raw values: nothing is stretched to [0, 1] per image, so that two maps can be compared and
an empty map stays empty instead of becoming noise blown up to full contrast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.shapes import Heatmap


@dataclass(frozen=True, eq=False)
class Explanation:
    """One heat map for each image of a record.

    Attributes:
        heatmap: How much each place counted; >= 0, not normalised, on the grid of the layer that was read, or the
            image's own pixels.
        method: The registered name of the method.
        parameters: What it was called with, defaults included.
        formula: What was computed, in plain text, to be printed under the map.
        target: The class explained, per image, or None where the method does not look at a class.
        attribution: Shares of the answer with their signs, where the method has them; the heat map is then what speaks
            for the class, `max(attribution, 0)`.
        facts: What the method found out about itself, per image, such as the error of completeness.
    """

    heatmap: Heatmap
    method: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    formula: str = ""
    target: Int[Tensor, " batch"] | None = None
    attribution: Float[Tensor, "batch row column"] | None = None
    facts: Mapping[str, Float[Tensor, " batch"]] = field(default_factory=dict)

    @property
    def ranking(self) -> Float[Tensor, "batch row column"]:
        """What places are ordered by, most telling first: signed shares where there are any, else the heat map."""
        return self.heatmap if self.attribution is None else self.attribution

    @property
    def has_evidence(self) -> Bool[Tensor, " batch"]:
        """Whether each map says anything: some value is above zero and all are finite.

        A map without evidence must be shown as "no positive evidence", never drawn as if it meant something.
        """
        flat = self.heatmap.flatten(1)
        return (flat.amax(dim=1) > 0) & torch.isfinite(flat).all(dim=1)
