"""Which patch of a scene belongs to which shape, and where every head of a model looks in one pass."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted

LEAST_SHARE = 0.1  # of a patch that a shape must own


@dataclass(frozen=True)
class SeenLayer:
    """One attention layer of one pass over one sample.

    Attributes:
        module: Its dotted path, without the mechanism.
        is_cross: Whether queries look at other tokens than themselves.
        pattern: Share of the query's attention on every key.
    """

    module: str
    is_cross: bool
    pattern: Float[np.ndarray, "head query key"]

    @property
    def words(self) -> str:
        """For people: "encoder, layer 1"."""
        parts = self.module.split(".")
        number = next((int(part) + 1 for part in parts if part.isdigit()), 1)
        stem = "" if parts[0] == "blocks" else f"{parts[0]}, "
        return f"{stem}layer {number}"


@torch.no_grad()
def seen_layers(model: nn.Module, inputs: Tensor) -> list[SeenLayer]:
    """Every attention of a pass over one example, in order."""
    found: list[SeenLayer] = []

    def see(attention: Attention) -> None:
        module = attention.module.removesuffix(".mechanism")
        pattern = attention.pattern()[0].double().cpu().numpy()
        found.append(SeenLayer(module, attention.kind == "cross", pattern))

    with intercepted(model, see):
        model(inputs)
    return found


def owner_of_patches(
    owner: Int[Tensor, "height width"], num_shapes: int, patch_size: int
) -> Int[np.ndarray, " token"]:
    """The shape that owns most of each patch, row by row; -1 where none owns a tenth."""
    patches = (
        owner.unfold(0, patch_size, patch_size).unfold(1, patch_size, patch_size).flatten(2).flatten(0, 1)
    )
    counts = torch.stack([(patches == shape).sum(dim=1) for shape in range(num_shapes)])
    most, best = counts.max(dim=0)
    return torch.where(most >= LEAST_SHARE * patch_size**2, best, -1).numpy()
