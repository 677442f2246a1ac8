"""In which order patches go: at random, or by what an explanation says of them; all drawn from the image's own pixels.

A map with finer places is averaged over each patch, a coarser one enlarged bilinearly. Patches of equal worth go in an
order drawn for each image, also where a map has no evidence at all.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.seeding import torch_generator
from archaeology.explain.explanation import Explanation
from archaeology.specimens.specimen import Specimen

Places = Int[Tensor, "batch patch"]


def default_explanation(specimen: Specimen) -> str:
    """The map a model's patches are ordered by unless one is named.

    Rollout for a transformer; Grad-CAM for another with a spatial layer, else the gradient.
    """
    if specimen.kind == "transformer":
        return "rollout"
    return "gradient" if specimen.target_layer is None else "grad_cam"


def random_places(names: Sequence[str], num_patches: int, seed: int, purpose: str) -> Places:
    """A place in a random order for every patch of every image.

    Args:
        names: Of the images, by `content_names`.
        num_patches: How many each has.
        seed: Of the order.
        purpose: What it is drawn for; other purposes have other orders.
    """
    drawn = [
        torch.randperm(num_patches, generator=torch_generator(seed, "patches", purpose, name))
        for name in names
    ]
    return torch.stack(drawn)


def salient_places(
    explanation: Explanation, grid: tuple[int, int], names: Sequence[str], seed: int
) -> Places:
    """The place of every patch in the order of a map, 0 for the one that counts most.

    Args:
        explanation: Of these images.
        grid: Rows and columns of patches.
        names: Of the images.
        seed: Of the order of equal patches.
    """
    values = worth_of_patches(explanation, grid)
    shuffle = random_places(names, values.shape[1], seed, "equal patches").to(values.device)
    order = shuffle.gather(
        1, values.gather(1, shuffle).argsort(dim=1, descending=True, stable=True)
    )  # numbers of the patches, first to last
    return order.argsort(dim=1)


def worth_of_patches(explanation: Explanation, grid: tuple[int, int]) -> Float[Tensor, "batch patch"]:
    """What a map says of each patch of a grid; the same of all where it has no evidence."""
    values = explanation.ranking.detach()
    finer = values.shape[1] >= grid[0] and values.shape[2] >= grid[1]
    if tuple(values.shape[1:]) != grid and finer:
        values = F.interpolate(values[:, None], grid, mode="area")[:, 0]
    elif tuple(values.shape[1:]) != grid:
        values = F.interpolate(values[:, None], grid, mode="bilinear", align_corners=False)[:, 0]
    says = explanation.has_evidence & values.flatten(1).isfinite().all(dim=1)
    return torch.where(says[:, None], values.flatten(1), torch.zeros_like(values.flatten(1)))


def scattered_sources(names: Sequence[str], num_pieces: int, seed: int) -> Int[Tensor, "batch piece"]:
    """Which piece comes to each place of a shuffled image: any order but the image's own.

    Args:
        names: Of the images.
        num_pieces: How many, at least two.
        seed: Of the orders.
    """
    own = torch.arange(num_pieces)
    drawn: list[Tensor] = []
    for name in names:
        generator = torch_generator(seed, "shuffled pieces", num_pieces, name)
        order = torch.randperm(num_pieces, generator=generator)
        while torch.equal(order, own):
            order = torch.randperm(num_pieces, generator=generator)
        drawn.append(order)
    return torch.stack(drawn)


def drawn_corners(names: Sequence[str], free: tuple[int, int], seed: int) -> Int[Tensor, "batch 2"]:
    """Top row and left column of a rectangle in each image, all places being equally likely.

    Args:
        names: Of the images.
        free: How many pixels it can move down and to the right.
        seed: Of the places.
    """
    drawn = [
        [
            int(torch.randint(room + 1, (), generator=torch_generator(seed, "occluder", axis, free, name)))
            for axis, room in enumerate(free)
        ]
        for name in names
    ]
    return torch.tensor(drawn)
