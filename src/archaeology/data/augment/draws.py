"""Numbers drawn by one generator for all images of a batch; moved to the images' device only when they are used."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def whole(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> Int[Tensor, "..."]:
    """Whole numbers from `low` to `high`, both included, all equally likely."""
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device)


def real(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    """Real numbers between `low` and `high`, in double precision."""
    drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return low + (high - low) * drawn
