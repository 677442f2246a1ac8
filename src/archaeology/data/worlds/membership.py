"""Which tokens hold a shape: a model looks at patches, the truth of a world speaks of shapes."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def token_membership(
    owner: Int[Tensor, "batch ..."], num_shapes: int, patch_size: int, min_share: float = 0.1
) -> Bool[Tensor, "batch shape token"]:
    """Which tokens belong to which shapes.

    A token belongs to every shape that owns at least `min_share` of its patch. Where a shape is too thin to own so much
    of any patch, the patches that hold most of it are its tokens. So every shape that is there has a token.

    Args:
        owner: Number of the shape at each sample of a signal (batch, length) or pixel of an image (batch, height,
            width); -1 for none.
        num_shapes: Size of the shape axis; numbers in `owner` are smaller.
        patch_size: Samples of a token, or side of its square patch; tokens of an image go row by row.
        min_share: Above 0, at most 1.

    Raises:
        ValueError: If `owner` is neither signal nor image, does not come out even in patches or names shapes that
            there are not, or `min_share` is impossible.
    """
    if owner.ndim not in (2, 3):
        raise ValueError(
            f"owner must be (batch, length) or (batch, height, width), but got shape {tuple(owner.shape)}."
        )
    if patch_size < 1 or any(side % patch_size for side in owner.shape[1:]):
        raise ValueError(
            f"patch_size must divide the sides of owner, but got {patch_size=} and shape {tuple(owner.shape)}."
        )
    if not 0 < min_share <= 1:
        raise ValueError(f"min_share must lie above 0 and at most at 1, but got {min_share=}.")
    if owner.numel() and not -1 <= int(owner.min()) <= int(owner.max()) < num_shapes:
        raise ValueError(
            f"owner must lie in -1..{num_shapes - 1}, but got {int(owner.min())} to {int(owner.max())}; give the "
            "world's num_shapes."
        )
    count = _counts(owner.long(), num_shapes, patch_size)
    enough = min_share * patch_size ** (owner.ndim - 1)
    most = count.amax(dim=2, keepdim=True)
    return (count > 0) & (count >= most.clamp(max=enough))


def _counts(
    owner: Int[Tensor, "batch ..."], num_shapes: int, patch_size: int
) -> Int[Tensor, "batch shape token"]:
    """How much of each patch each shape owns, in samples or pixels."""
    token = torch.zeros((), dtype=torch.long, device=owner.device)
    num_tokens = 1
    for side in owner.shape[1:]:
        place = torch.arange(side, device=owner.device) // patch_size
        token = token[..., None] * (side // patch_size) + place
        num_tokens *= side // patch_size
    example = torch.arange(len(owner), device=owner.device).view(-1, *[1] * (owner.ndim - 1))
    index = (example * (num_shapes + 1) + owner + 1) * num_tokens + token
    count = index.flatten().bincount(minlength=len(owner) * (num_shapes + 1) * num_tokens)
    return count.view(len(owner), num_shapes + 1, num_tokens)[:, 1:]
