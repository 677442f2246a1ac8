"""Small models to ask: one whose gradient is written out by hand, one that refuses many images, one that breaks."""

import torch
from tests.oracles import asking
from torch import nn

from archaeology.specimens.specimen import Specimen

MEAN, STD, SIZE, CLASSES = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), (4, 5), 6


def images(count, dtype=torch.float64):
    return torch.rand(count, 3, *SIZE, dtype=dtype, generator=torch.Generator().manual_seed(count))


class Tanh(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(60, 7), nn.Tanh(), nn.Linear(7, CLASSES, bias=False))


class Narrow(nn.Module):
    """Raises as a device does when more than `limit` images come at once, and remembers how many came."""

    def __init__(self, inner, limit):
        super().__init__()
        self.inner, self.limit, self.seen = inner, limit, []

    def forward(self, images):
        self.seen.append(len(images))
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.inner(images)


class Breaking(nn.Module):
    """Answers NaN to any image with a dark first pixel."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        dark = images[:, 0, 0, 0] < -1.9  # black, normalised, is -2
        return self.inner(images).masked_fill(dark[:, None], torch.nan)


def specimen(model=None, dtype=torch.float64):
    if model is None:
        torch_state = torch.get_rng_state()
        torch.manual_seed(0)
        model = Tanh()
        torch.set_rng_state(torch_state)
    return Specimen("small", model.to(dtype).eval(), "other", (), SIZE, MEAN, STD)


def by_hand(made, target):
    """Logit and gradient of the class as plain functions of nested lists."""
    first, last = made.model[1], made.model[3]
    return asking.tanh_network(
        first.weight.tolist(), first.bias.tolist(), last.weight[target].tolist(), MEAN, STD
    )
