"""How good an answer is, as a share: so much of this, out of so much of that, counted sample by sample."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Ratio:
    """A score whose value over some samples is the sum of `part` over the sum of `whole`, of those samples.

    Attributes:
        part: For example the summed error of a sample's shapes.
        whole: What it is a share of; zero where a sample has no say.
    """

    part: Float[Tensor, " batch"]
    whole: Float[Tensor, " batch"]

    @property
    def value(self) -> float:
        """The share over all samples; NaN where nothing counts."""
        whole = float(self.whole.double().sum())
        return float(self.part.double().sum()) / whole if whole else float("nan")
