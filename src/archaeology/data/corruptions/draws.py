"""Random numbers for corruptions: drawn for each image from its own pixels, the same alone and in any batch.

The severity is no part of the address, so that a severer corruption of an image is more of the same one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.seeding import content_names, torch_generator
from archaeology.core.shapes import Image


@dataclass(frozen=True)
class Draws:
    """A source of random numbers with an address for each image; drawn on the CPU, handed out like the images.

    Attributes:
        names: Of the images, by their pixels.
        seed: Another seed, other numbers.
        purpose: What they are for: the name of the corruption.
        device: Where the numbers are handed out.
        dtype: In which precision; they are drawn in single precision.
    """

    names: tuple[str, ...]
    seed: int
    purpose: str
    device: torch.device
    dtype: torch.dtype

    def uniform(self, what: str, *shape: int) -> Float[Tensor, "batch ..."]:
        """Numbers from 0 to 1."""
        return self._each(what, lambda _, generator: torch.rand(shape, generator=generator)).to(self.dtype)

    def normal(self, what: str, *shape: int) -> Float[Tensor, "batch ..."]:
        """Numbers of mean 0 and standard deviation 1."""
        return self._each(what, lambda _, generator: torch.randn(shape, generator=generator)).to(self.dtype)

    def whole(self, what: str, low: int, high: int, *shape: int) -> Int[Tensor, "batch ..."]:
        """Whole numbers from `low` to `high`, both included."""
        return self._each(what, lambda _, generator: torch.randint(low, high + 1, shape, generator=generator))

    def poisson(self, what: str, rates: Image) -> Image:
        """Counts of rare events that come at these rates."""
        on_cpu = rates.float().cpu()
        drawn = self._each(what, lambda place, generator: torch.poisson(on_cpu[place], generator))
        return drawn.to(self.dtype)

    def _each(self, what: str, draw: Callable[[int, torch.Generator], Tensor]) -> Tensor:
        rows = [
            draw(place, torch_generator(self.seed, "corruption", self.purpose, what, name))
            for place, name in enumerate(self.names)
        ]
        return torch.stack(rows).to(self.device)


def draws_for(images: Image, purpose: str, seed: int) -> Draws:
    """The random numbers of these images.

    Raises:
        ValueError: If the seed is negative.
    """
    return Draws(tuple(content_names(images)), seed, purpose, images.device, images.dtype)
