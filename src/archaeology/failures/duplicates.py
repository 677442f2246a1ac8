"""Which images are there twice? A test image that is also in the training set, or twice in the test, tells too much.

Exact copies have the same pixels. Near copies look alike small: every image is shrunk to 16 x 16 pixels, its mean taken
off, and two are near where the cosine of what is left is high, also after smooth shades are taken off (two skies have
much the same gradient, but not the same detail). Products of blocks of images, so that memory stays bounded.

Source: `barz2020train`, who compare features of a network and look at each pair. Differs: pixels only, so nothing has
to be trained, and heavier edits (mirroring, cropping) are not found.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.core.storage import sha256_of

SIDE = 16
ALIKE, ALIKE_IN_DETAIL = 0.97, 0.9
BLOCK = 1024  # images of each side compared at once: 4 MB of cosines
CHUNK = 512

Pictures = UInt8[np.ndarray, "_ _ _ _"]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Pairs of images that are the same, or nearly.

    Attributes:
        pairs: Row in the first set, row in the second (or in the same set, always larger).
        cosine: How alike each pair is, 0.97 to 1; 1 for exact copies.
        is_exact: Whether the pixels are the same.
        num_images: Of the first set.
        within: Whether both rows are of one set.
    """

    pairs: Int[np.ndarray, "pair 2"]
    cosine: Float[np.ndarray, " pair"]
    is_exact: Bool[np.ndarray, " pair"]
    num_images: int
    within: bool

    @property
    def rows(self) -> Int[np.ndarray, " row"]:
        """Images of the first set that have a copy, each once; within one set only the later ones of a group."""
        return np.unique(self.pairs[:, 1 if self.within else 0])


def duplicates_within(images: Pictures) -> Duplicates:
    """Copies among the images of one set; pair (i, j) has i < j.

    Raises:
        ValueError: If there is no image.
    """
    return _found(images, None)


def duplicates_across(asked: Pictures, known: Pictures) -> Duplicates:
    """Images of one set (of the test, say) that are in another (the training).

    Time grows with the product of both sizes (50,000 x 10,000 is 5 * 10^8 cosines of 768 numbers), memory with
    their sum.

    Raises:
        ValueError: If a set is empty, or their images differ in channels.
    """
    if len(known) and len(asked) and known.shape[1] != asked.shape[1]:
        raise ValueError(
            f"both sets must have the same channels, but got {asked.shape[1]} and {known.shape[1]}; "
            "decode both to RGB."
        )
    return _found(asked, known)


def thumbnails(images: Pictures) -> tuple[Float[Tensor, "image value"], Float[Tensor, "image value"]]:
    """Every image as two directions: shrunk without its mean, and its detail alone; all zero where it has none.

    Raises:
        ValueError: If there is no image.
    """
    if len(images) == 0:
        raise ValueError("finding duplicates needs at least one image, but got none.")
    shrunk, details = [], []
    for start in range(0, len(images), CHUNK):
        batch = torch.from_numpy(np.array(images[start : start + CHUNK])).float() / 255
        small = F.interpolate(batch, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        smooth = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        shrunk.append(_direction((small - small.mean(dim=(1, 2, 3), keepdim=True)).flatten(1)))
        details.append(_direction((small - smooth).flatten(1)))
    return torch.cat(shrunk), torch.cat(details)


def _direction(values: Float[Tensor, "image value"]) -> Float[Tensor, "image value"]:
    length = values.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-3, values / length.clamp(min=1e-3), torch.zeros_like(values))


def _found(asked: Pictures, known: Pictures | None) -> Duplicates:
    first, detail = thumbnails(asked)
    second, other_detail = (first, detail) if known is None else thumbnails(known)
    near: list[np.ndarray] = []
    cosines: list[np.ndarray] = []
    for start in range(0, len(first), BLOCK):
        for begin in range(0 if known is not None else start, len(second), BLOCK):
            alike = first[start : start + BLOCK] @ second[begin : begin + BLOCK].T
            rows, columns = (alike >= ALIKE).nonzero(as_tuple=True)
            value = alike[rows, columns]
            pair = torch.stack([rows + start, columns + begin], dim=1)
            same = (detail[pair[:, 0]] * other_detail[pair[:, 1]]).sum(dim=1) >= ALIKE_IN_DETAIL
            keep = same & (pair[:, 0] < pair[:, 1]) if known is None else same
            near.append(pair[keep].numpy())
            cosines.append(value[keep].double().clamp(max=1).numpy())
    exact = _exact(asked, known)
    found: dict[tuple[int, int], float] = {}
    for (one, other), value in zip(
        np.concatenate(near).tolist(), np.concatenate(cosines).tolist(), strict=True
    ):
        found[one, other] = value
    found |= dict.fromkeys(exact, 1.0)
    pairs = sorted(found, key=lambda pair: (pair not in exact, -found[pair], pair))
    return Duplicates(
        np.array(pairs, dtype=np.int64).reshape(-1, 2),
        np.array([found[pair] for pair in pairs], dtype=np.float64),
        np.array([pair in exact for pair in pairs], dtype=bool),
        len(asked),
        known is None,
    )


def _exact(asked: Pictures, known: Pictures | None) -> set[tuple[int, int]]:
    """Pairs with the same pixels, also where an image has no detail; of a group only the first with each other."""
    where: dict[str, int] = {}
    found: set[tuple[int, int]] = set()
    for row, image in enumerate(asked if known is None else known):
        mark = sha256_of(repr(image.shape), image.tobytes())
        if known is None and mark in where:
            found.add((where[mark], row))
        where.setdefault(mark, row)
    if known is not None:
        for row, image in enumerate(asked):
            mark = sha256_of(repr(image.shape), image.tobytes())
            if mark in where:
                found.add((row, where[mark]))
    return found
