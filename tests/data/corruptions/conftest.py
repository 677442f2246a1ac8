"""Pictures with soft and hard edges in many colours, as bad as photographs for what must be exact."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


def drawn(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(batch + 10 * height + 1000 * width)
    coarse = torch.rand(batch, channels, 7, 6, generator=generator, dtype=torch.float64)
    soft = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    hard = torch.rand(batch, 1, 5, 3, generator=generator, dtype=torch.float64) > 0.6
    stripes = F.interpolate(hard.double(), (height, width))
    return ((0.7 * soft + 0.3 * stripes) * 255).round() / 255


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """`pictures(batch, height, width)`: double precision, in [0, 1], whole 255ths."""
    return drawn
