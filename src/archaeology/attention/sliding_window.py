"""Every token attends to its neighbours only, so that time grows with length and not with its square.

`beltagy2020longformer`, section 3.1. Differs: the radius counts to each side, `2 * radius + 1` keys in all, where other
libraries mean by "window" anything from that to half of it; a causal mask leaves the `radius` tokens before and itself.
"""

import torch

from archaeology.attention.masks import Mask, band
from archaeology.attention.mechanism import Facts, mechanisms
from archaeology.attention.softmax import Softmax


@mechanisms.register("sliding_window")
class SlidingWindow(Softmax):
    """Exact attention to the tokens at most `radius` positions away."""

    supports = Softmax.supports - {"cross"}
    facts = Facts(
        title="Sliding window",
        formula="softmax(QK^T / sqrt(d) where |i - j| <= r) V",
        time="N r d",
        memory="N r",
        relation="sparse",
        source="beltagy2020longformer",
    )

    def __init__(
        self, *, radius: int = 128, scale: float | None = None, dropout: float = 0.0, kernel: str = "auto"
    ) -> None:
        """`radius` counts the neighbours on each side; the rest is as in `Softmax`.

        Raises:
            ValueError: If `radius` is negative.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        self.window = band(radius)

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """The band, whatever the length."""
        return self.window
