"""Noise as large as an attack: the attack's own changes, dealt out to other values of the image with random signs.

So all norms (largest change, length, sum, number of values changed) are those of the attack, and only what the attack
knew is gone: where to change what, and in which direction. A change that would leave [0, 1] gets the other sign; one
that would leave it both ways, larger than a half, is cut.
"""

from collections.abc import Sequence

import torch

from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image


def matched_noise(clean: Image, attacked: Image, names: Sequence[str], seed: int = 0) -> Image:
    """The clean images with the sizes of the attack's changes at random places, in [0, 1].

    Args:
        clean: In [0, 1].
        attacked: The same images after the attack.
        names: Of the clean images, by `content_names`.
        seed: Of places and signs.
    """
    sizes = (attacked - clean).abs().flatten(1)
    places, signs = [], []
    for name in names:
        generator = torch_generator(seed, "noise like an attack", name)
        places.append(torch.randperm(sizes.shape[1], generator=generator))
        signs.append(torch.randint(0, 2, (sizes.shape[1],), generator=generator) * 2 - 1)
    dealt = sizes.gather(1, torch.stack(places).to(sizes.device)).view_as(clean)
    change = dealt * torch.stack(signs).to(clean).view_as(clean)
    moved = clean + change
    leaves = (moved < 0) | (moved > 1)
    return torch.where(leaves, clean - change, moved).clamp(0, 1)
