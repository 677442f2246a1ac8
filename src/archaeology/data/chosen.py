"""Some of a source's images, chosen before anything is decoded: a thousand of a million cost a thousand."""

from collections.abc import Sequence

import numpy as np

from archaeology.core.storage import sha256_of
from archaeology.data.decoded import evenly
from archaeology.data.source import ImageSource, Sample


class ChosenImages:
    """The rows of a source, as a source of its own; everything else is as there."""

    def __init__(self, source: ImageSource, rows: Sequence[int]) -> None:
        """Look at these rows of `source` only, in the order given."""
        self._source = source
        self._rows = [int(row) for row in rows]
        self.name = source.name
        self.split = source.split
        self.classes = source.classes
        self.is_thread_safe = bool(getattr(source, "is_thread_safe", False))
        self._fingerprint: str | None = None  # made when asked for: reading many files takes its time

    @property
    def fingerprint(self) -> str:
        """Of the chosen images alone where the source can tell (`fingerprint_of`), else of all of them and the rows."""
        if self._fingerprint is None:
            tells = getattr(self._source, "fingerprint_of", None)
            content = tells(self._rows) if tells else self._source.fingerprint
            self._fingerprint = sha256_of(content, "rows", np.array(self._rows, "<i8").tobytes())
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._rows)

    def image_id(self, index: int) -> str:
        """As in the whole source."""
        return self._source.image_id(self._rows[index])

    def labels(self) -> list[int | None]:
        """Labels of the chosen images."""
        everything = self._source.labels()
        return [everything[row] for row in self._rows]

    def get(self, index: int) -> Sample:
        """Decode one of the chosen images."""
        return self._source.get(self._rows[index])


def labelled(source: ImageSource) -> ImageSource:
    """The images of `source` that have a label, in their order; the source itself where all have one.

    Raises:
        ValueError: If none has.
    """
    labels = source.labels()
    rows = [row for row, label in enumerate(labels) if label is not None and label >= 0]
    if not rows:
        raise ValueError(
            f"{source.name} must have images with labels, but none of its {len(labels)} images has one; take labelled "
            "data, for example a folder with one folder of images for each class."
        )
    return source if len(rows) == len(labels) else ChosenImages(source, rows)


def choose_evenly(source: ImageSource, n: int, *, seed: int) -> ImageSource:
    """At most `n` images of `source`, spread over the classes as evenly as they allow, in their old order.

    A class with too few images gives all it has and the others fill up; unlabelled images count as one class. With the
    same seed fewer images are always among more. The source itself is returned where it has no more than `n`.

    Raises:
        ValueError: If `n` is not positive.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 image, but got {n=}.")
    if len(source) <= n:
        return source
    labels = np.array([-1 if label is None else label for label in source.labels()], dtype=np.int64)
    return ChosenImages(source, evenly(labels, n, seed).tolist())
