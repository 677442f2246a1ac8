"""Group alignment of every head of a model, self- and cross-attention, over the samples of a world."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from archaeology.capture.attention import Attention, Kind
from archaeology.capture.interceptor import intercepted
from archaeology.data.worlds.membership import token_membership
from archaeology.stats.alignment import GroupAlignment, group_alignment


@runtime_checkable
class ExplainedExamples(Protocol):
    """A batch of a world that says which shapes are where, and which are evidence for which."""

    @property
    def owner(self) -> Int[Tensor, "batch ..."]:
        """Number of the shape at each place; -1 for none."""
        ...

    @property
    def evidence(self) -> Bool[Tensor, "batch shape shape"]:
        """[b, i, j]: shape j has a say in shape i."""
        ...

    def pair(self) -> tuple[Tensor, Tensor]:
        """Input and target."""
        ...

    def part(self, start: int, stop: int) -> Any:
        """Some of the samples."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class LayerAlignment:
    """Group alignment of the heads of one layer.

    Attributes:
        module: Dotted path of the layer.
        kind: Whether it looks at its own tokens ("token") or at others ("cross"), see `Attention.kind`.
        alignment: Of its heads, sample by sample.
    """

    module: str
    kind: Kind
    alignment: GroupAlignment


@torch.no_grad()
def align_heads(
    model: nn.Module, batch: ExplainedExamples, patch_size: int, *, batch_size: int = 100
) -> tuple[LayerAlignment, ...]:
    """Group alignment of every attention layer, in the order of the pass.

    Args:
        model: Maps inputs to targets; its tokens are the patches of the input (in cross-attention those of the answer
            look), in every attention. It is run in evaluation mode.
        batch: Samples of a world, where the model is.
        patch_size: Samples of a token, or side of its square patch.
        batch_size: Samples at once.

    Raises:
        ValueError: If the model shows no attention, or its tokens are not the patches.
    """
    seen: dict[int, list[LayerAlignment]] = {}
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(batch), batch_size):
            part = batch.part(start, start + batch_size)
            members = token_membership(part.owner, part.evidence.shape[1], patch_size)

            def see(
                attention: Attention, members: Tensor = members, evidence: Tensor = part.evidence
            ) -> None:
                _check(attention, members)
                found = group_alignment(attention.pattern(), members, members, evidence)
                layer = LayerAlignment(attention.module, attention.kind, found)
                seen.setdefault(attention.index, []).append(layer)

            with intercepted(model, see):
                model(part.pair()[0])
    finally:
        model.train(was_training)
    if not seen:
        raise ValueError(f"model must have attention to look at, but {type(model).__name__} showed none.")
    return tuple(
        LayerAlignment(
            layer[0].module, layer[0].kind, GroupAlignment.joined([part.alignment for part in layer])
        )
        for _, layer in sorted(seen.items())
    )


def _check(attention: Attention, members: Bool[Tensor, "batch shape token"]) -> None:
    batch, _, num_tokens = members.shape
    if (attention.shape[0], *attention.shape[2:]) != (batch, num_tokens, num_tokens):
        raise ValueError(
            f"every attention must be among the {num_tokens} patches of the input, but {attention.module} has the "
            f"shape {attention.shape} (batch, head, query, key) for {batch} samples; give the model's patch_size."
        )
