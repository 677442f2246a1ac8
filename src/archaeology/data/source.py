"""An image source hands out one decoded image at a time and says what it is; all else is built on that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One image as the source has it: 8-bit RGB in its own size, with what is known about it."""

    image: UInt8[Tensor, "channel height width"]
    label: int | None
    box: tuple[float, float, float, float] | None = None  # x_min, y_min, x_max, y_max in pixels of `image`
    mask: Bool[Tensor, "height width"] | None = None  # True where the object is


@runtime_checkable
class ImageSource(Protocol):
    """Images with labels, in a fixed order.

    A source whose `get` may be called by several threads at once says so with `is_thread_safe = True`; any
    other is read by one. A source of many files has `fingerprint_of(rows)`, which reads those alone.

    Attributes:
        name: How the user names it, for example `folder:photos/`.
        split: Which part of it this is, or None where it has no parts.
        classes: Class names; `label` is an index into them. Empty where nothing is labelled.
        fingerprint: Hex sha256 that changes when any image or label changes.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def split(self) -> str | None: ...  # noqa: D102

    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def image_id(self, index: int) -> str:
        """A stable name people can find the image by: a relative path, or split and row."""
        ...

    def labels(self) -> Sequence[int | None]:
        """The labels of all images, known without decoding any; None where one has none."""
        ...

    def get(self, index: int) -> Sample:
        """Decode image `index`.

        Raises:
            BadImageError: If it cannot be decoded; the message names the path.
        """
        ...
