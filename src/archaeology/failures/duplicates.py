"""Which images are there twice? A test image that is also in the training set, or twice in the test, tells too much.

Exact copies have the same pixels. Near copies look alike small: every image is shrunk to 16 x 16 pixels, its mean taken
off, and two are near where the cosine of what is left is high, also after smooth shades are taken off (two skies have
much the same gradient, but not the same detail). Drawings of one shape on a plain ground may be as alike by chance; so
a copy must also be much nearer than the nearest image that is none. Products of blocks of images, so that memory stays
bounded.

Sources: `barz2020train`, who compare features of a network and look at each pair; `lowe2004distinctive` for the ratio
of both distances. Differs: pixels only, so nothing has to be trained, and heavier edits (mirroring, cropping) are not
found.
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
MUCH_NEARER = 0.4  # distance of a copy, as a share of that of the nearest image that is not alike
BLOCK = 1024  # images of each side compared at once: 4 MB of cosines
CHUNK = 512

Pictures = UInt8[np.ndarray, "_ _ _ _"]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Images that are there again, the same or nearly, each with its nearest copy.

    One pair for each such image, not one for every two of a group: a thousand black frames are 999 pairs.

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
        """Images of the first set that have a copy, in order; within one set only the later ones of a group."""
        return np.unique(self.pairs[:, 1 if self.within else 0])

    @property
    def everywhere(self) -> Int[np.ndarray, " row"]:
        """Images of the first set that have a copy, in order; within one set also the first ones of a group."""
        return np.unique(self.pairs) if self.within else self.rows

    @property
    def one_of_each(self) -> Int[np.ndarray, " row"]:
        """The first image of each group of copies, in order: copies of one image are no several witnesses."""
        if self.within:
            return np.setdiff1d(self.pairs[:, 0], self.pairs[:, 1])
        first: dict[int, int] = {}
        for row, known in sorted(self.pairs.tolist()):
            first.setdefault(known, row)
        return np.array(sorted(first.values()), dtype=np.int64)


def duplicates_within(images: Pictures) -> Duplicates:
    """Images of one set that are there before; pair (i, j) has i < j.

    Raises:
        ValueError: If there is no image.
    """
    return _found(images, None)


def duplicates_across(asked: Pictures, known: Pictures) -> Duplicates:
    """Images of one set (of the test, say) that are in another (the training).

    Time grows with the product of both sizes (50,000 x 10,000 is 5 * 10^8 cosines of 768 numbers), memory with that
    of `asked`; `known` may be a memory map and is read a block at a time.

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
    """Each image with the copy that is most alike: an exact one if there is any, else the nearest."""
    partner, cosine = _nearest(asked, known)
    exact = _exact(asked, known)
    partner |= exact
    pairs = sorted(partner, key=lambda row: (row not in exact, -cosine.get(row, 1.0), row))
    ends = [(partner[row], row) if known is None else (row, partner[row]) for row in pairs]
    return Duplicates(
        np.array(ends, dtype=np.int64).reshape(-1, 2),
        np.array([1.0 if row in exact else cosine[row] for row in pairs], dtype=np.float64),
        np.array([row in exact for row in pairs], dtype=bool),
        len(asked),
        known is None,
    )


def _nearest(asked: Pictures, known: Pictures | None) -> tuple[dict[int, int], dict[int, float]]:
    """For each image that has a near copy (within one set: an earlier one), the row of the nearest and the cosine."""
    first, detail = thumbnails(asked)
    best, where = torch.full((len(first),), -1.0), torch.full((len(first),), -1)
    other_best = best.clone()  # of images that are not alike
    for begin in range(0, len(asked if known is None else known), BLOCK):
        columns = slice(begin, begin + BLOCK)
        second, other = (first[columns], detail[columns]) if known is None else thumbnails(known[columns])
        for start in range(begin if known is None else 0, len(first), BLOCK):
            rows = slice(start, start + BLOCK)
            alike = first[rows] @ second.T
            if known is None and begin == start:
                alike.fill_diagonal_(-1.0)
            unlike = alike.masked_fill(alike >= ALIKE, -1.0)
            other_best[rows] = torch.maximum(other_best[rows], unlike.amax(dim=1))
            if known is None and begin < start:  # each two of one set meet once
                other_best[columns] = torch.maximum(other_best[columns], unlike.amax(dim=0))
            if not (alike >= ALIKE).any():
                continue
            if known is None and begin == start:
                alike = alike.tril(-1)
            alike[(alike < ALIKE) | (detail[rows] @ other.T < ALIKE_IN_DETAIL)] = -1.0
            value, place = alike.max(dim=1)
            is_nearer = value > best[rows]
            best[rows] = torch.where(is_nearer, value, best[rows])
            where[rows] = torch.where(is_nearer, place + begin, where[rows])
    is_copy = (where >= 0) & (_distance(best) <= MUCH_NEARER * _distance(other_best))
    found = is_copy.nonzero()[:, 0].tolist()
    cosines = best.double().clamp(max=1)
    return {row: int(where[row]) for row in found}, {row: float(cosines[row]) for row in found}


def _distance(cosine: Float[Tensor, " image"]) -> Float[Tensor, " image"]:
    """Between directions with this cosine."""
    return (2 - 2 * cosine).clamp(min=0).sqrt()


def _exact(asked: Pictures, known: Pictures | None) -> dict[int, int]:
    """For each image with the same pixels as one of the other set (or an earlier one), the first such row.

    Also where an image has no detail at all, which nothing can be near to.
    """
    where: dict[str, int] = {}
    found: dict[int, int] = {}
    for row, image in enumerate(asked if known is None else known):
        mark = sha256_of(repr(image.shape), image.tobytes())
        if known is None and mark in where:
            found[row] = where[mark]
        where.setdefault(mark, row)
    if known is not None:
        for row, image in enumerate(asked):
            mark = sha256_of(repr(image.shape), image.tobytes())
            if mark in where:
                found[row] = where[mark]
    return found
