"""Stochastic depth: in training, each image skips each branch now and then, so that no layer relies on all others.

`huang2016deep`, with their rule that deeper layers are skipped more often. Differs: what is kept is divided by its
probability, so that nothing has to be scaled afterwards.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: What timm calls the places where a block drops; they are empty (`nn.Identity`) in models built without.
TIMM_NAMES = ("drop_path", "drop_path1", "drop_path2")


class DropPath(nn.Module):
    """In training, zero for a random share of the examples and the input, made larger, for the others.

    Attributes:
        rate: That share; at least 0 and below 1. May be changed while training.
    """

    def __init__(self, rate: float = 0.0) -> None:
        """Drop this share.

        Raises:
            ValueError: If it is not in [0, 1).
        """
        super().__init__()
        self.rate = checked_rate(rate)

    def forward(self, branch: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """What a branch found, to be added to the tokens."""
        if not self.training or self.rate == 0:
            return branch
        shape = (len(branch), *(1,) * (branch.ndim - 1))
        kept = torch.rand(shape, device=branch.device) >= self.rate
        return branch * (kept / (1 - self.rate)).to(branch.dtype)

    def extra_repr(self) -> str:
        """For print(model)."""
        return f"rate={self.rate}"


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Drop nothing in the first block, `rate` in the last, and in between in proportion to depth.

    Args:
        model: One of ours with blocks, or one of timm's; there, empty places for dropping are filled.
        rate: Share of the last block; at least 0 and below 1.

    Raises:
        ValueError: If the rate is not in that range, or is positive and nothing in the model can drop.
    """
    checked_rate(rate)
    blocks = [
        (block, names) for block in model.modules() if (names := droppable(block))
    ]  # in order of depth, as models list them
    if not blocks and rate > 0:
        raise ValueError(
            f"drop_path needs a model with residual blocks that can drop, but {type(model).__name__} has none; "
            "use drop_path=0."
        )
    for index, (block, names) in enumerate(blocks):
        share = float(rate) * index / max(1, len(blocks) - 1)
        for name in names:
            _set(block, name, share)


def droppable(block: nn.Module) -> list[str]:
    """Names of the children where a block drops, or could."""
    return [
        name
        for name, child in block.named_children()
        if isinstance(child, DropPath)
        or _is_timms(child)
        or (name in TIMM_NAMES and isinstance(child, nn.Identity))
    ]


def checked_rate(rate: float) -> float:
    """The rate itself.

    Raises:
        ValueError: If it is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the rate of drop_path must be at least 0 and below 1, but got {rate}.")
    return rate


def _is_timms(module: nn.Module) -> bool:
    return type(module).__name__ == "DropPath" and hasattr(module, "drop_prob")


def _set(block: nn.Module, name: str, rate: float) -> None:
    child = block.get_submodule(name)
    if isinstance(child, DropPath):
        child.rate = rate
    elif _is_timms(child):
        setattr(child, "drop_prob", rate)  # noqa: B010 - a field that only timm's class has
    elif rate > 0:
        setattr(block, name, DropPath(rate).train(block.training))
