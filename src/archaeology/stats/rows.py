"""What a statistic looks at: some rows of a layer's pattern, and where their tokens are.

Every statistic gives one number for each row, that is for each head and query; a survey averages them over
queries. Rows need not sum to one: all statistics divide by the row's own sum, so they speak of shares of
what attention there is. Weights must not be negative.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.core.shapes import Pattern
from archaeology.specimens.layout import TokenLayout

ROUNDING = 1e-5  # of a row's sum in float32

PerRow = Float[Tensor, "batch head query"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of one layer's pattern.

    Attributes:
        pattern: Their weights, >= 0.
        queries: Which token looks, for each row; -1 for a query that is no token of the image (a probe).
        layout: Where the keys lie in the image, or None where they are not the image's tokens in order
            (windows, channels), so that nothing about places can be said.
        patch_size: Height and width of a patch, in pixels.
        scores: What the pattern is the softmax of, where that is known: `log p` without a logarithm.
    """

    pattern: Pattern
    queries: Int[Tensor, " query"]
    layout: TokenLayout | None
    patch_size: tuple[float, float]
    scores: Float[Tensor, "batch head query key"] | None = None

    @cached_property
    def total(self) -> PerRow:
        """The sum of each row, which every statistic divides by; made once."""
        return self.pattern.sum(dim=-1)

    @cached_property
    def strongest(self) -> PerRow:
        """The largest weight of each row; made once."""
        return self.pattern.amax(dim=-1)

    @cached_property
    def sums_to_one(self) -> bool:
        """Whether all rows do, so that weights are shares as they stand."""
        return bool((self.total - 1).abs().max() < ROUNDING) if self.total.numel() else False

    @cached_property
    def centred(self) -> Pattern:
        """Shares, minus those of blind attention (1 / keys); a row of zeros counts as blind. Made once, then kept."""
        blind = 1 / self.pattern.shape[-1]
        if self.sums_to_one:
            return self.pattern - blind
        inverse, known = shares(self)
        centred = (self.pattern * inverse[..., None]).sub_(blind)
        return centred if bool(known.all()) else centred.mul_(known[..., None])

    def only(self, index: Int[Tensor, " some"]) -> "Rows":
        """Some of these rows, by their number among them; without scores."""
        pattern = self.pattern[:, :, index.to(self.pattern.device)]
        return replace(self, pattern=pattern, queries=self.queries[index], scores=None)


def shares(rows: Rows) -> tuple[PerRow, Bool[Tensor, "batch head query"]]:
    """What to multiply every row by so that it sums to one (0 for a row of zeros), and whether it looks anywhere."""
    known = rows.total > 0
    return (1 / rows.total).masked_fill(~known, 0), known


@dataclass(frozen=True)
class Statistic:
    """One number for each row, and how to speak of it.

    Attributes:
        of_rows: Computes it; NaN where it is not defined.
        label: What a figure writes beside it.
        unit: Its unit; empty for a share.
        sampled: Whether it is so costly that only a few rows of each pattern are looked at.
    """

    of_rows: Callable[[Rows], PerRow]
    label: str
    unit: str = ""
    sampled: bool = False


statistics: Registry[Statistic] = Registry("statistic")
