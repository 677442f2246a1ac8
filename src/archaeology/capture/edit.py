"""What if this head had said nothing? An edit replaces a head's answer, or a pattern, as the model runs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HeadEdit:
    """Replace the answer of one head for each example, before the heads are mixed again.

    Attributes:
        layer: Number of the attention in the pass (`Attention.index`).
        head: Which head, for each example; -1 leaves that example alone. Where a layer works on windows, all
            windows of the example are edited.
        replacement: What the head says instead, such as its mean over a data set: `(head, query, dim)`, or
            `(window, head, query, dim)` where each window has its own. Zero if None.
    """

    layer: int
    head: Int[Tensor, " batch"]
    replacement: Float[Tensor, "*window head query dim"] | None = None

    def apply(self, output: Float[Tensor, "batch head query dim"]) -> Float[Tensor, "batch head query dim"]:
        """The heads' answers with the chosen ones replaced.

        Raises:
            ValueError: If `head` or `replacement` do not fit this layer.
        """
        batch, heads, _, _ = output.shape
        if not len(self.head) or batch % len(self.head):
            raise ValueError(
                f"head must hold one number for each example, but got {len(self.head)} numbers for layer "
                f"{self.layer} whose batch is {batch}."
            )
        if int(self.head.max()) >= heads or int(self.head.min()) < -1:
            raise ValueError(
                f"head must lie in -1..{heads - 1} in layer {self.layer}, but got {self.head.tolist()}."
            )
        windows = batch // len(self.head)
        numbers = self.head.to(output.device).repeat_interleave(windows)
        chosen = numbers[:, None] == torch.arange(heads, device=output.device)
        instead = output.new_zeros(()) if self.replacement is None else self._spread(output, windows)
        return torch.where(chosen[:, :, None, None], instead, output)

    def _spread(self, output: Tensor, windows: int) -> Tensor:
        replacement = self.replacement
        assert replacement is not None
        fitting = (tuple(output.shape[1:]), (windows, *output.shape[1:]))
        if tuple(replacement.shape) not in fitting:
            raise ValueError(
                f"replacement must have shape {fitting[0]} (head, query, dim) or {fitting[1]} (window first) "
                f"in layer {self.layer}, but got {tuple(replacement.shape)}."
            )
        replacement = replacement.to(output)
        return replacement if replacement.ndim == 3 else replacement.repeat(len(self.head), 1, 1, 1)


@dataclass(frozen=True, eq=False)
class PatternEdit:
    """Replace a whole pattern; the values stay the model's own.

    Attributes:
        layer: Number of the attention in the pass (`Attention.index`).
        pattern: What each query attends to instead.
    """

    layer: int
    pattern: Float[Tensor, "batch head query key"]

    def fitting(self, shape: tuple[int, int, int, int], device: torch.device) -> Tensor:
        """The pattern, where it fits the layer.

        Raises:
            ValueError: If its shape is not that of the layer.
        """
        if tuple(self.pattern.shape) != shape:
            raise ValueError(
                f"pattern must have the shape {shape} (batch, head, query, key) of layer {self.layer}, "
                f"but got {tuple(self.pattern.shape)}."
            )
        return self.pattern.to(device)


Edit = HeadEdit | PatternEdit
