"""All images of a data set in one size as one array on disk: reading image i is reading memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.core.seeding import numpy_generator
from archaeology.core.storage import sha256_of


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images with what is known about them; row i of every field is the same image.

    Attributes:
        images: RGB, 8 bits; a memory map whose changes stay in memory, so the cache cannot be spoilt.
        labels: Index into `classes`, or -1 where unlabelled.
        ids: Names that people can find the images by, all different.
        classes: Class names; empty where nothing is labelled.
        boxes: x_min, y_min, x_max, y_max in pixels of `images`, NaN where unknown, empty or cropped away; None if no
            image has one.
        masks: True on the object, False everywhere where unknown; None if no image has one.
        skipped: Id and reason of the images that could not be decoded and were left out.
        fingerprint: Of the source (not of the size), hex sha256.
        name: How the user names the source.
        split: Which part of it, or None.
    """

    images: UInt8[np.ndarray, "image channel height width"]
    labels: Int[np.ndarray, " image"]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    boxes: Float[np.ndarray, "image 4"] | None
    masks: Bool[np.ndarray, "image height width"] | None
    skipped: tuple[tuple[str, str], ...]
    fingerprint: str
    name: str
    split: str | None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, batch_size: int
    ) -> Iterator[tuple[UInt8[Tensor, "batch channel height width"], Int[Tensor, " batch"], slice]]:
        """All images in order: pixels, labels and the rows they came from; the last batch may be smaller.

        Raises:
            ValueError: If `batch_size` is not positive.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, but got {batch_size=}.")
        for start in range(0, len(self), batch_size):
            rows = slice(start, min(start + batch_size, len(self)))
            yield (
                torch.from_numpy(np.array(self.images[rows])),
                torch.from_numpy(self.labels[rows].copy()),
                rows,
            )

    def take(self, n: int, seed: int) -> "DecodedImages":
        """At most `n` of the images, spread over the classes as evenly as they allow, in their old order.

        A class with too few images gives all it has and the others fill up; unlabelled images count as one
        class. With the same seed fewer images are always among more.

        Raises:
            ValueError: If `n` is not positive.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1 image, but got {n=}.")
        if n >= len(self):
            return self
        rows = evenly(self.labels, n, seed)
        mark = sha256_of(self.fingerprint, "take", rows.astype("<i8").tobytes())
        return replace(self.only(rows), fingerprint=mark)

    def only(self, rows: "Int[np.ndarray, ' row'] | Sequence[int]") -> "DecodedImages":
        """These rows in this order, under the fingerprint of all: for a set of its own, give it another."""
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            ids=tuple(self.ids[row] for row in rows),
            boxes=None if self.boxes is None else self.boxes[rows],
            masks=None if self.masks is None else self.masks[rows],
        )


def evenly(labels: Int[np.ndarray, " image"], n: int, seed: int) -> Int[np.ndarray, " chosen"]:
    """Deal cards: every class is shuffled, then each in turn gives its next image until there are `n`."""
    generator = numpy_generator(seed, "take")
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    place_in_class = np.arange(len(labels)) - np.repeat(starts, counts)
    turn_of_class = np.repeat(generator.permutation(len(counts)), counts)
    return np.sort(by_class[np.lexsort((turn_of_class, place_in_class))[:n]])
