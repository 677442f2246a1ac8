"""Group alignment says whether a head looks where the evidence is: attention on it, over what chance would give.

In a world whose rule is known, some shapes decide how another one must be drawn. The tokens of that shape should look
at theirs. Uniform attention scores exactly 1, whatever the shapes; a head that looks nowhere else scores one over the
evidence's share of the tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.core.bootstrap import Intervals, bootstrap_ratios
from archaeology.core.shapes import Pattern
from archaeology.data.worlds.membership import token_membership as token_membership

Members = Bool[Tensor, "batch shape token"]


@dataclass(frozen=True, eq=False)
class MassOverArea:
    """Attention mass over the share of the area, per sample and head; over many samples a ratio of sums.

    Attributes:
        part: Attention on the evidence, summed over the shapes that count (each shape: mean over its tokens).
        whole: The evidence's share of the keys, summed over the same shapes; 0 where no shape of the sample counts.
    """

    part: Float[Tensor, "batch head"]
    whole: Float[Tensor, "batch head"]

    @property
    def value(self) -> Float[Tensor, " head"]:
        """Times chance, for each head; NaN where no shape counts."""
        return self.part.double().sum(dim=0) / self.whole.double().sum(dim=0)

    def intervals(self, *, seed: int = 0, level: float = 0.95) -> Intervals:
        """Times chance, for each head, bootstrapped over samples."""
        part, whole = (tensor.double().cpu().numpy() for tensor in (self.part, self.whole))
        return bootstrap_ratios(part, whole, seed=seed, level=level)

    @classmethod
    def joined(cls, parts: Sequence["MassOverArea"]) -> "MassOverArea":
        """The samples end to end."""
        return cls(torch.cat([each.part for each in parts]), torch.cat([each.whole for each in parts]))


@dataclass(frozen=True, eq=False)
class GroupAlignment:
    """How far the heads of one layer look at the evidence.

    Attributes:
        all: At all evidence of a shape, itself included.
        others: Only at tokens of the other evidence that are not the shape's own: a head that looks at itself gains
            nothing here. Shapes without such tokens do not count.
    """

    all: MassOverArea
    others: MassOverArea

    @classmethod
    def joined(cls, parts: Sequence["GroupAlignment"]) -> "GroupAlignment":
        """The samples end to end."""
        return cls(
            MassOverArea.joined([each.all for each in parts]),
            MassOverArea.joined([each.others for each in parts]),
        )


def group_alignment(
    pattern: Pattern,
    query_members: Bool[Tensor, "batch shape query"],
    key_members: Bool[Tensor, "batch shape key"],
    evidence: Bool[Tensor, "batch shape shape"],
) -> GroupAlignment:
    """Attention from the tokens of every shape to the tokens of its evidence, over their share of the keys.

    Args:
        pattern: Rows are divided by the sum of their sizes, so that also weights that do not sum to one, or are
            negative, share out one whole. A row of zeros looks nowhere.
        query_members: Which queries belong to which shape; in cross-attention, of what is drawn.
        key_members: Which keys do.
        evidence: [b, i, j]: shape j has a say in how shape i must be drawn.
    """
    weights = pattern.abs().float()
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    own = query_members.float()
    own = own / own.sum(dim=-1, keepdim=True).clamp(min=1)
    looks = einsum(own, weights, "batch shape query, batch head query key -> batch head shape key")
    itself = torch.eye(evidence.shape[1], dtype=torch.bool, device=evidence.device)
    there = query_members.any(dim=-1)
    return GroupAlignment(
        all=_mass_over_area(looks, there, _union(evidence, key_members)),
        others=_mass_over_area(looks, there, _union(evidence & ~itself, key_members) & ~key_members),
    )


def _union(evidence: Bool[Tensor, "batch shape other"], members: Bool[Tensor, "batch other key"]) -> Members:
    """Tokens of any of the shapes that are evidence."""
    return (
        einsum(evidence.float(), members.float(), "batch shape other, batch other key -> batch shape key") > 0
    )


def _mass_over_area(
    looks: Float[Tensor, "batch head shape key"], there: Bool[Tensor, "batch shape"], wanted: Members
) -> MassOverArea:
    counted = (wanted & there[..., None]).float()
    mass = einsum(looks, counted, "batch head shape key, batch shape key -> batch head")
    area = counted.mean(dim=-1).sum(dim=-1)
    return MassOverArea(mass, area[:, None].expand_as(mass))
