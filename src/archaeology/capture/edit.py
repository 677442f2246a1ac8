"""What if this head had said nothing? An edit replaces a head's answer, or a pattern, as the model runs."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class HeadEdit:
    """Replace the answers of some heads for each example, before the heads are mixed again.

    Attributes:
        layer: Number of the attention in the pass (`Attention.index`).
        head: Which head, for each example, where -1 leaves that example alone; or which heads, True where replaced.
            Where a layer works on windows, all windows of the example are edited.
        replacement: What the heads say instead, such as their mean over a data set: `(head, query, dim)`;
            `(window, head, query, dim)` where each window has its own; or a batch of answers, one example after
            the other, which repeats where there are several times as many examples. Zero if None.
    """

    layer: int
    head: Int[Tensor, " batch"] | Bool[Tensor, "batch head"]
    replacement: Float[Tensor, "*batch head query dim"] | None = None

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
        windows = batch // len(self.head)
        chosen = self._mask(heads).to(output.device).repeat_interleave(windows, dim=0)[:, :, None, None]
        if self.replacement is None:
            return torch.where(chosen, output.new_zeros(()), output)
        instead = self._fitting(output, windows)
        spread = output.unflatten(0, (-1, len(instead)))
        return torch.where(chosen.unflatten(0, (-1, len(instead))), instead, spread).flatten(0, 1)

    def _mask(self, heads: int) -> Bool[Tensor, "batch head"]:
        if self.head.dtype == torch.bool:
            if self.head.shape[1] != heads:
                raise ValueError(
                    f"head must have a column for each of the {heads} heads of layer {self.layer}, "
                    f"but got {self.head.shape[1]}."
                )
            return self.head
        if int(self.head.max()) >= heads or int(self.head.min()) < -1:
            raise ValueError(
                f"head must lie in -1..{heads - 1} in layer {self.layer}, but got {self.head.tolist()}."
            )
        return self.head[:, None] == torch.arange(heads, device=self.head.device)

    def _fitting(self, output: Tensor, windows: int) -> Float[Tensor, "part head query dim"]:
        replacement = self.replacement
        assert replacement is not None
        one = tuple(output.shape[1:])
        rows = replacement[None] if replacement.ndim == 3 else replacement
        fits = tuple(rows.shape[1:]) == one and len(rows) > 0 and len(output) % len(rows) == 0
        if not fits or (replacement.ndim == 4 and len(rows) % windows):
            raise ValueError(
                f"replacement must have shape {one} (head, query, dim), {(windows, *one)} (window first) or hold such "
                f"windows of some of the {len(output) // windows} examples in layer {self.layer}, "
                f"but got {tuple(replacement.shape)}."
            )
        return rows.to(output)


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


@dataclass(frozen=True, eq=False)
class HeadWatch:
    """Change nothing, but make the answers of a layer's heads a point that gradients can be asked at.

    Attributes:
        layer: Number of the attention in the pass (`Attention.index`).
        seen: Here the answers `(batch, head, query, dim)` are put as the model goes on with them, in its graph.
    """

    layer: int
    seen: list[Tensor] = field(default_factory=list[Tensor])

    def apply(self, output: Float[Tensor, "batch head query dim"]) -> Float[Tensor, "batch head query dim"]:
        """The same answers; the graph starts here where nothing before needs a gradient."""
        answer = output if output.requires_grad else output.detach().requires_grad_(torch.is_grad_enabled())
        self.seen.append(answer)
        return answer


OneEdit = HeadEdit | PatternEdit | HeadWatch


@dataclass(frozen=True, eq=False)
class Edits:
    """Several edits in one pass, at most one for each layer.

    Attributes:
        parts: The edits, in any order.
    """

    parts: tuple[OneEdit, ...]

    def __post_init__(self) -> None:
        layers = [part.layer for part in self.parts]
        if len(set(layers)) < len(layers):
            raise ValueError(
                f"there may be one edit for each layer, but got edits of layers {layers}; a mask edits several heads."
            )


Edit = OneEdit | Edits


def edits_by_layer(edit: Edit | None) -> dict[int, OneEdit]:
    """What is to be edited in each layer."""
    if edit is None:
        return {}
    return {part.layer: part for part in (edit.parts if isinstance(edit, Edits) else (edit,))}
