"""How much of an image may go? Accuracy while patches are lost, pieces change places, or something stands in front.

Patches go at random, the most telling first, or the least telling first, by a map of the model's own (or of one model
for all, the `guide`). Every model sees the same images cut along the same grid, in one run. Source:
`naseer2021intriguing`. Differs: maps of the models themselves, not of another network's foreground; the grid is the
transformer's own, for CNNs too; a drop and an occluding rectangle of the same share of the area lie on one axis.

Holes scattered at random have more edges than the same number of holes side by side, as a coarse map orders them: a
network that takes edges for texture can lose more to a random drop than to a salient one. "mean" makes fainter edges
than "black"; one `guide` gives all models the same holes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from archaeology.ablate.trial import check_classes, images_per_pass
from archaeology.capture.finite import not_finite
from archaeology.capture.record import unit_images
from archaeology.core.halving import in_halves
from archaeology.core.seeding import content_names
from archaeology.core.shapes import Image, PixelImage
from archaeology.explain.method import explain_images, explanations
from archaeology.robustness.patch_edits import check_fill, covered, filled, lost_patches, shuffled
from archaeology.robustness.patch_orders import (
    Places,
    default_explanation,
    drawn_corners,
    random_places,
    salient_places,
    scattered_sources,
)
from archaeology.robustness.patch_result import CLEAN, CURVES, Disturbance, PatchRobustness
from archaeology.specimens.layout import patch_grid
from archaeology.specimens.specimen import Specimen

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
AREAS = (0.1, 0.25, 0.5)
PIECES = (2, 4, 8)
MOST_AT_ONCE = 256


@dataclass(frozen=True)
class _Plan:
    specimens: tuple[Specimen, ...]
    explanation: str | None
    guide: Specimen | None
    shares: tuple[float, ...]
    areas: tuple[float, ...]
    pieces: tuple[int, ...]
    fill: str
    grid: tuple[int, int]
    seed: int

    @property
    def num_patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def counts(self) -> list[int]:
        """How many patches go, each number once, at least one."""
        return sorted({max(1, round(share * self.num_patches)) for share in self.shares})

    def method_of(self, specimen: Specimen) -> str:
        return self.explanation or default_explanation(specimen)


def patch_robustness(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    shares: Sequence[float] = SHARES,
    areas: Sequence[float] = AREAS,
    pieces: Sequence[int] = PIECES,
    fill: str = "black",
    explanation: str | None = None,
    guide: Specimen | None = None,
    grid: tuple[int, int] | None = None,
    seed: int = 0,
    at_once: int | None = None,
) -> PatchRobustness:
    """What models still know of images that lost patches, were shuffled, or are partly hidden.

    Args:
        specimens: Any models that tell the same classes apart, with names of their own.
        images: Floats in [0, 1] or 8 bit; changed in the size they are given.
        labels: Their classes.
        shares: Shares of the patches to lose, above 0 and at most 1; rounded to whole patches. None where empty.
        areas: Shares of the image's area to cover by one rectangle of its own proportions, in the middle and at random.
        pieces: Pieces along each side of images to shuffle; no image keeps its own order.
        fill: What stands where a patch was: "black" or "mean" (colour of the image).
        explanation: Orders the patches; if None, rollout for a transformer and Grad-CAM for others.
        guide: The model whose maps order the patches for all; each its own if None.
        grid: Rows and columns of patches; if None, those of the first model that has patches, else 8 x 8.
        seed: Of what is drawn; an image gets the same alone and in any batch.
        at_once: Images to work on together; by their size if None.

    Raises:
        UnknownNameError: If there is no such fill or explanation.
        ValueError: If labels, shares, areas, pieces or grid do not fit, a model's answers are not finite, or a model
            lacks what the explanation needs.
    """
    _check_models(specimens, images, labels)
    _check_levels(shares, areas, pieces, (images.shape[-2], images.shape[-1]))
    check_fill(fill)
    if explanation is not None:
        explanations.get(explanation)
    grid = _checked_grid(grid, specimens, images)
    plan = _Plan(
        specimens=tuple(specimens),
        explanation=explanation,
        guide=guide,
        shares=tuple(shares),
        areas=tuple(areas),
        pieces=tuple(pieces),
        fill=fill,
        grid=grid,
        seed=seed,
    )
    at_once = at_once or min(MOST_AT_ONCE, *(images_per_pass(specimen) for specimen in specimens))
    parts = [
        found
        for _, found in in_halves(
            lambda which: _outcomes(plan, images[which], labels[which]), len(images), at_once
        )
    ]
    return PatchRobustness(
        specimens=tuple(specimen.name for specimen in specimens),
        disturbances=tuple(parts[0]),
        correct=np.concatenate([np.stack(list(part.values()), axis=1) for part in parts], axis=2),
        explanations=tuple(
            f"{plan.method_of(guide or specimen)} of {(guide or specimen).name}" for specimen in specimens
        ),
        grid=grid,
        fill=fill,
        seed=seed,
    )


def _outcomes(
    plan: _Plan, images: Image | PixelImage, labels: Int[Tensor, " image"]
) -> dict[Disturbance, Bool[np.ndarray, "specimen image"]]:
    """Whether each model is right on some images, disturbance after disturbance."""
    images = unit_images(images, images.device)
    clean = np.stack([_right(specimen, images, labels) for specimen in plan.specimens])
    found = {Disturbance(CLEAN, 0.0): clean}
    names = content_names(images)
    for what, changed in _same_for_all(plan, images, names):
        found[what] = np.stack([_right(specimen, changed, labels) for specimen in plan.specimens])
    of_own: dict[Disturbance, list[np.ndarray]] = {}
    maps: Places | None = None
    for specimen in plan.specimens if plan.shares else ():
        if maps is None or plan.guide is None:
            asked = plan.guide or specimen
            drawn = explain_images(plan.method_of(asked), asked, images)
            maps = salient_places(drawn, plan.grid, names, plan.seed).to(images.device)
        for kind, places in ((CURVES[1], maps), (CURVES[2], plan.num_patches - 1 - maps)):
            for what, changed in _dropped(plan, images, kind, places):
                of_own.setdefault(what, []).append(_right(specimen, changed, labels))
    return found | {what: np.stack(right) for what, right in of_own.items()}


def _same_for_all(plan: _Plan, images: Image, names: Sequence[str]) -> Iterator[tuple[Disturbance, Image]]:
    """What does not depend on a model's map, one changed copy of the images at a time."""
    size = (images.shape[2], images.shape[3])
    if plan.shares:
        places = random_places(names, plan.num_patches, plan.seed, "random drop").to(images.device)
        yield from _dropped(plan, images, CURVES[0], places)
    for share in plan.areas:
        sides = (max(1, round(size[0] * share**0.5)), max(1, round(size[1] * share**0.5)))
        free = (size[0] - sides[0], size[1] - sides[1])
        middle = torch.tensor([free[0] // 2, free[1] // 2]).expand(len(images), 2)
        for kind, corners in (
            ("occlude_middle", middle),
            ("occlude_random", drawn_corners(names, free, plan.seed)),
        ):
            lost = covered(corners.to(images.device), sides, size)
            yield Disturbance(kind, share), filled(images, lost, plan.fill)
    for number in plan.pieces:
        sources = scattered_sources(names, number**2, plan.seed).to(images.device)
        yield Disturbance("shuffle", float(number)), shuffled(images, sources, (number, number))


def _dropped(plan: _Plan, images: Image, kind: str, places: Places) -> Iterator[tuple[Disturbance, Image]]:
    size = (images.shape[2], images.shape[3])
    for count in plan.counts:
        lost = lost_patches(places, count, plan.grid, size)
        yield Disturbance(kind, count / plan.num_patches), filled(images, lost, plan.fill)


@torch.no_grad()
def _right(specimen: Specimen, images: Image, labels: Int[Tensor, " image"]) -> np.ndarray:
    logits = specimen.predict(images)
    if not logits.isfinite().all():
        raise not_finite(specimen, images)
    check_classes(labels, logits.shape[1])
    return (logits.argmax(1).cpu() == labels.cpu()).numpy()


def _check_models(
    specimens: Sequence[Specimen], images: Image | PixelImage, labels: Int[Tensor, " label"]
) -> None:
    names = [specimen.name for specimen in specimens]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"specimens must be one model or several with names of their own, but got {names}; rename them with "
            "dataclasses.replace(specimen, name=...)."
        )
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"patch_robustness needs at least one image and a label for each, but got {len(images)} images and "
            f"{len(labels)} labels."
        )


def _check_levels(
    shares: Sequence[float], areas: Sequence[float], pieces: Sequence[int], size: tuple[int, int]
) -> None:
    for name, given in (("shares", shares), ("areas", areas)):
        if not all(0 < share <= 1 for share in given):
            raise ValueError(f"{name} must lie above 0 and be at most 1, but got {list(given)}.")
    if not all(2 <= number <= min(size) for number in pieces):
        raise ValueError(
            f"pieces must be at least 2 along each side and no more than the {min(size)} pixels there, but got "
            f"{list(pieces)}."
        )


def _checked_grid(
    grid: tuple[int, int] | None, specimens: Sequence[Specimen], images: Image | PixelImage
) -> tuple[int, int]:
    size = (images.shape[-2], images.shape[-1])
    if grid is None:
        layouts = [specimen.layout for specimen in specimens if specimen.layout is not None]
        return patch_grid(layouts[0] if layouts else None, size)
    if not (1 <= grid[0] <= size[0] and 1 <= grid[1] <= size[1]) or grid[0] * grid[1] < 2:
        raise ValueError(
            f"grid must have two patches or more and no more rows and columns than the images of {size[0]}x{size[1]} "
            f"pixels, but got {grid=}."
        )
    return grid
