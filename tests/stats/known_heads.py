"""A model whose heads do what they are told: each looks where its name says, and nowhere else."""

import torch
import torch.nn.functional as F
from torch import nn

from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats.scene import edge_energy

ROWS, COLUMNS, SIDE = 5, 7, 4
LAYOUT = TokenLayout(ROWS, COLUMNS, ("class",))
SIZE = (ROWS * SIDE, COLUMNS * SIDE)
MARK = 1 / 255  # of blue: where the object is

HEADS = {
    "itself": "local",
    "neighbours": "local",
    "everywhere": "broad",
    "one fixed patch": "sink",
    "class token": "class reader",
    "mirrored": "positional",
    "edges": "edge-driven",
    "same colour": "colour-driven",
    "inside": "object-driven",
    "somewhere": "mixed",
}


def scenes(count, seed=0):
    """Patches of four colours, some of them striped, and a marked box of 2 x 3 patches at random: images, boxes."""
    generator = torch.Generator().manual_seed(seed)
    palette = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.5, 0.2, 0.5], [0.2, 0.4, 0.9]])
    which = torch.randint(4, (count, ROWS, COLUMNS), generator=generator)
    images = palette[which].permute(0, 3, 1, 2)
    images = images.repeat_interleave(SIDE, 2).repeat_interleave(SIDE, 3) * 0.5
    striped = torch.rand(count, 1, ROWS, COLUMNS, generator=generator) < 0.2
    stripes = (torch.arange(SIZE[1]) // 2 % 2).float() - 0.5
    images = images + 0.25 + striped.repeat_interleave(SIDE, 2).repeat_interleave(SIDE, 3) * stripes * 0.4
    images = (images.clamp(0, 1) * 255).to(torch.uint8)
    images[:, 2] &= 254
    boxes = torch.zeros(count, 4)
    for index in range(count):
        top = int(torch.randint(ROWS - 1, (1,), generator=generator)) * SIDE
        left = int(torch.randint(COLUMNS - 2, (1,), generator=generator)) * SIDE
        images[index, 2, top : top + 2 * SIDE, left : left + 3 * SIDE] |= 1
        boxes[index] = torch.tensor([left, top, left + 3 * SIDE, top + 2 * SIDE])
    return images, boxes


class KnownHeads(nn.Module):
    """One attention layer; what its heads look at is computed from the image by hand."""

    def __init__(self, heads=tuple(HEADS)):
        super().__init__()
        self.heads = heads

    def forward(self, pixels):
        maps = [self.weights(name, pixels) for name in self.heads]
        tokens = torch.ones(len(pixels), len(maps), LAYOUT.num_tokens, 3)
        scores = torch.stack(maps, 1).clamp(min=1e-9).log()
        return F.scaled_dot_product_attention(tokens * 0, tokens, tokens, attn_mask=scores).mean((1, 2))

    def weights(self, name, pixels):
        place = torch.cartesian_prod(torch.arange(ROWS), torch.arange(COLUMNS))
        far = (place[:, None] - place[None]).abs().amax(-1)
        patches = F.avg_pool2d(pixels, SIDE).flatten(2).mT
        among = {
            "itself": (far == 0).float(),
            "neighbours": (far == 1).float(),
            "everywhere": torch.ones_like(far).float(),
            "one fixed patch": F.one_hot(torch.full((35,), 11), 35).float(),
            "class token": torch.zeros(35, 35),
            "mirrored": (far + far.flip(1) < 0).float() + torch.eye(35).flip(1),
        }.get(name)
        if name == "edges":
            energy = edge_energy(pixels, (ROWS, COLUMNS))
            among = (energy > 0.15).float()[:, None].expand(-1, 35, -1) + 1e-4
        elif name == "same colour":
            among = (torch.cdist(patches, patches) < 0.15).float()
        elif name == "inside":
            blue = (F.avg_pool2d(pixels[:, 2:], SIDE) * 255).flatten(1)
            among = ((pixels[:, 2] * 255).round() % 2).unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE)
            among = among.mean((3, 4)).flatten(1)[:, None].expand(-1, 35, -1) + 0 * blue[:, None]
        elif name == "somewhere":
            # Depends on the image, on nothing that can be seen in it.
            seed = (pixels.double().sum((1, 2, 3)) * 1e4).long()
            among = torch.stack(
                [torch.rand(35, 35, generator=torch.Generator().manual_seed(int(s))) < 0.3 for s in seed]
            ).float()
        whole = torch.zeros(len(pixels), 36, 36)
        whole[:, 1:, 1:] = among
        whole[:, 0] = 1
        if name == "class token":
            whole[:, :, 0] = 1
        return whole


def specimen(heads=tuple(HEADS)):
    model = KnownHeads(heads).eval()
    return Specimen("known", model, "transformer", (), SIZE, (0.0,) * 3, (1.0,) * 3, layout=LAYOUT)
