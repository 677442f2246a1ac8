"""An attack laid to a model: any of its images can be tried at any epsilon, each at its own, and the best is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.method import Aim, Attack, inside
from archaeology.attacks.norms import SLACK, distances
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image
from archaeology.robustness.bisection import Attempt, lowered, smallest_level
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class Siege:
    """One attack on one model, whose images are tried at whatever epsilon is asked."""

    victim: Victim
    chosen: Attack
    aim: Aim
    grid: Float[Tensor, " level"]
    found: Image  # the smallest change that broke an image, or the last that was tried on it
    broken: Bool[Tensor, " batch"]  # which of `found` are the former

    @classmethod
    def laid(
        cls, specimen: Specimen, chosen: Attack, aim: Aim, grid: Float[Tensor, " level"], at_once: int
    ) -> "Siege":
        """A siege whose attack may try the sizes of a grid that begins at 0."""
        victim = Victim(specimen, aim.images, at_once=at_once)
        broken = torch.zeros(len(aim), dtype=torch.bool, device=aim.images.device)
        return cls(victim, chosen, aim, grid, aim.images.clone(), broken)

    def smallest(
        self, first: Mapping[str, object], second: Mapping[str, object] | None
    ) -> Int[Tensor, " batch"]:
        """The number in the grid of each image's smallest epsilon, or how many there are where none breaks it.

        Args:
            first: Parameters of the attack.
            second: Those with which what stands just below is tried again.
        """
        if not self.chosen.bounded:
            return self.attempt(torch.arange(len(self.aim)), None, first)

        def above_zero(parameters: Mapping[str, object]) -> Attempt:
            return lambda rows, tried: self.attempt(rows, 1 + tried, parameters) - 1

        found = smallest_level(len(self.aim), len(self.grid) - 1, above_zero(first))
        return 1 + (found if second is None else lowered(found, above_zero(second)))

    def attempt(
        self,
        rows: Int[Tensor, " some"],
        tried: Int[Tensor, " some"] | None,
        parameters: Mapping[str, object],
    ) -> Int[Tensor, " some"]:
        """Attack some images, within an epsilon for each or with the smallest change; where in the grid that got."""
        part = self.victim.afresh(len(rows))
        rows = rows.to(self.aim.images.device)
        aim = self.aim.only(rows)
        size = torch.full_like(aim.epsilon, torch.inf) if tried is None else self.grid[tried.to(rows.device)]
        aim = replace(aim, epsilon=size)
        candidates = inside(self.chosen.draw(part, aim, **parameters), aim)
        wrong = part.logits(candidates, aim.rows).argmax(dim=1) != aim.labels
        self.victim.gradients[rows.cpu()] += part.gradients
        self.victim.evaluations[rows.cpu()] += part.evaluations
        new = wrong | ~self.broken[rows]
        self.found[rows[new]] = candidates[new]
        self.broken[rows[wrong]] = True
        far = distances(candidates, aim.images)[aim.norm]
        level = torch.searchsorted(self.grid.to(far.dtype) + SLACK, far)
        return torch.where(wrong, level.clamp(min=1), len(self.grid)).cpu()
