"""Does a head look at edges, at its own colour, at the object? Attention compared with what lies in the image.

Three numbers for each image and head, about patches only:

* edge alignment: Pearson's correlation over patches of what a patch receives (mean over the patches that look) with
  its edge energy;
* colour alignment: Pearson's correlation over all ordered pairs of two different patches of the weight between them
  with minus the distance of their mean colours (Euclidean, RGB);
* object alignment: attention that ends inside the box or mask over the share of the area inside, so that blind
  attention scores exactly 1 (the same times chance as `MassOverArea`, image by image: every image counts alike).

A correlation with what varies nowhere is NaN, as is alignment with an object that is unknown or fills the image.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.stats.columns import Columns, PerHead
from archaeology.stats.correlation import correlation, correlation_of_sums
from archaeology.stats.rows import Rows
from archaeology.stats.scene import PerPatch

WHOLE = 1 - 1e-6  # of the area: an object that fills the image cannot be looked past


def edge_alignment(received: Float[Tensor, "batch head patch"], edges: PerPatch) -> PerHead:
    """Correlation over patches of what they receive with their edge energy, in [-1, 1]."""
    return correlation(received, edges[:, None].expand_as(received))


def object_alignment(received: Float[Tensor, "batch head patch"], inside: PerPatch) -> PerHead:
    """Share of the attention on patches that ends inside, over the share of the area inside: times chance."""
    share = received / received.sum(dim=-1, keepdim=True)
    area = inside.mean(dim=-1)
    known = (area > 0) & (area < WHOLE)
    value = torch.einsum("bhp,bp->bh", share, inside.nan_to_num(0)) / area[:, None]
    return value.masked_fill(~known[:, None], torch.nan)


def received_by_patches(columns: Columns) -> Float[Tensor, "batch head patch"]:
    """What the patches among the keys receive."""
    assert columns.layout is not None
    return columns.received[..., columns.layout.num_prefix :]


class ColourSums:
    """Sums over pairs of patches for the correlation of weights with likeness of colour, some rows at a time."""

    def __init__(self, colours: Float[Tensor, "batch patch channel"], num_prefix: int) -> None:
        self.colours = colours
        self.num_prefix = num_prefix
        self.sums: dict[str, Tensor] = {}
        self.offset = 0.0

    def add(self, rows: Rows, span: slice) -> None:
        """Take the rows of some patches in."""
        origin = (rows.queries - self.num_prefix).to(rows.pattern.device)
        weight = rows.centred[..., self.num_prefix :]
        self.offset = 1 / rows.pattern.shape[-1]
        likeness = -torch.cdist(
            self.colours[:, origin], self.colours, compute_mode="donot_use_mm_for_euclid_dist"
        ).to(weight)
        itself = weight.gather(-1, origin.expand(*weight.shape[:2], -1)[..., None])[..., 0].double()
        self._add("n", torch.tensor(float(weight.shape[2] * (weight.shape[3] - 1)), device=weight.device))
        self._add("weight", (weight.sum(-1).double() - itself).sum(-1))
        self._add("likeness", likeness.double().sum((-1, -2))[:, None])
        self._add("weight2", (torch.linalg.vecdot(weight, weight).double() - itself**2).sum(-1))
        self._add("likeness2", likeness.double().square().sum((-1, -2))[:, None])
        self._add("product", torch.einsum("bhqk,bqk->bhq", weight, likeness).double().sum(-1))

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value.double()

    def colour_alignment(self) -> PerHead:
        """The correlation over all pairs taken in, in [-1, 1]."""
        sums = self.sums
        return correlation_of_sums(
            sums["n"],
            (sums["weight"], sums["likeness"]),
            (sums["weight2"], sums["likeness2"]),
            sums["product"],
            offsets=(self.offset, 0.0),
        )
