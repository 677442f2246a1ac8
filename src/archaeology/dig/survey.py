"""The measuring stages of a dig: each is cut into chunks of images, and each finished chunk is a part that stays.

Nothing here is written into the run directory but parts; `assemble.py` turns the numbers into tables.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from jaxtyping import Float, Int

from archaeology.core.progress import progress
from archaeology.core.seeding import torch_generator
from archaeology.core.storage import sha256_of
from archaeology.data.cache import DecodedImages
from archaeology.dig.parts import Arrays, Parts
from archaeology.specimens.specimen import Specimen
from archaeology.stats.specialization_sums import (
    SpecializationSums,
    figure_names,
    sum_specialization,
)

ANSWERS = "2"  # what parts of `predict` hold: another number, and parts of older versions are made anew


@dataclass(frozen=True)
class Images:
    """The images of a dig in chunks, each with the hashes that name its parts."""

    decoded: DecodedImages
    hashes: tuple[str, ...]
    chunk: int

    @classmethod
    def of(cls, decoded: DecodedImages, chunk: int) -> "Images":
        """Hash every image's pixels."""
        return cls(decoded, tuple(sha256_of(image.tobytes()) for image in decoded.images), chunk)

    def __len__(self) -> int:
        return len(self.hashes)

    def chunks(self) -> Iterator[slice]:
        """Slices of at most `chunk` images over all of them."""
        for start in range(0, len(self), self.chunk):
            yield slice(start, min(start + self.chunk, len(self)))

    def spread(self, count: int, seed: int) -> list[int]:
        """`count` row numbers drawn at random without replacement, in order; with one seed, fewer are among more."""
        drawn = torch.randperm(len(self), generator=torch_generator(seed, "spread"))[:count]
        return sorted(drawn.tolist())

    def only(self, rows: Sequence[int]) -> "Images":
        """These rows alone."""
        return Images(self.decoded.only(rows), tuple(self.hashes[row] for row in rows), self.chunk)

    def tensor(self, rows: "slice | Sequence[int]") -> torch.Tensor:
        """Those images as 8-bit tensors."""
        return torch.from_numpy(np.ascontiguousarray(self.decoded.images[rows]))

    def key(self, rows: "slice | Sequence[int]") -> str:
        """A hash of those images."""
        chosen = self.hashes[rows] if isinstance(rows, slice) else [self.hashes[row] for row in rows]
        return sha256_of(*chosen)


Compute = Callable[[torch.Tensor, slice], Arrays]


def each_chunk(
    stage: str,
    images: Images,
    parts: Parts,
    ingredients: tuple[str, ...],
    compute: Compute,
) -> list[Arrays]:
    """The parts of a stage over all chunks, with a progress bar."""
    return list(chunk_by_chunk(stage, images, parts, ingredients, compute))


def chunk_by_chunk(
    stage: str,
    images: Images,
    parts: Parts,
    ingredients: tuple[str, ...],
    compute: Compute,
) -> Iterator[Arrays]:
    """The same, one part at a time, for large parts that are added up: none is kept."""
    with progress(stage, len(images)) as advance:
        for rows in images.chunks():
            key = (*ingredients, images.key(rows))
            size = rows.stop - rows.start
            yield parts.get(stage, key, size, lambda rows=rows: compute(images.tensor(rows), rows))
            advance(size)


@dataclass(frozen=True)
class Predictions:
    """What a model says of every image.

    Attributes:
        prediction: The class with the highest logit.
        confidence: Its softmax probability.
        logits: All of them.
    """

    prediction: Int[np.ndarray, " image"]
    confidence: Float[np.ndarray, " image"]
    logits: Float[np.ndarray, "image class"]


def predict(role: str, specimen: Specimen, fingerprint: str, images: Images, parts: Parts) -> Predictions:
    """The class with the highest logit, its softmax probability, and all logits, for every image."""

    @torch.inference_mode()
    def of_chunk(batch: torch.Tensor, rows: slice) -> Arrays:
        logits = specimen.predict(batch).float()
        probability, place = logits.softmax(dim=1).max(dim=1)
        found = {"prediction": place, "confidence": probability, "logits": logits}
        return {name: values.cpu().numpy() for name, values in found.items()}

    found = each_chunk(f"predict-{role}", images, parts, (fingerprint, ANSWERS), of_chunk)
    return Predictions(**{name: np.concatenate([part[name] for part in found]) for name in found[0]})


def specialization(
    specimen: Specimen, fingerprint: str, images: Images, parts: Parts, *, seed: int
) -> SpecializationSums:
    """What every head specializes in, over all images, with boxes or masks where they are known."""
    decoded = images.decoded

    def of_chunk(batch: torch.Tensor, rows: slice) -> Arrays:
        masks = None if decoded.masks is None else torch.from_numpy(np.array(decoded.masks[rows]))
        boxes = None
        if masks is None and decoded.boxes is not None:
            boxes = torch.from_numpy(np.array(decoded.boxes[rows]))
        ids = decoded.ids[rows]
        return sum_specialization(specimen, batch, ids=ids, boxes=boxes, masks=masks, seed=seed).arrays()

    # Ids deal images into groups, boxes and masks are what heads are compared with: all are ingredients.
    facts = [array.tobytes() for array in (decoded.boxes, decoded.masks) if array is not None]
    ingredients = (fingerprint, str(seed), *figure_names(), sha256_of(*decoded.ids, *facts))
    found = chunk_by_chunk("specialization", images, parts, ingredients, of_chunk)
    return reduce(add, (SpecializationSums.from_arrays(part) for part in found))
