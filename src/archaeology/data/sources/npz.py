"""Arrays in one `.npz` file, the layout of MedMNIST: `train_images`, `train_labels`, `val_...`, `test_...`.

Images are (image, height, width) or (image, height, width, channel) with 1, 3 or 4 channels, of 8 or 16 bits; labels
are (image,) or (image, 1) whole numbers, and may be absent. The format has no class names.
"""

import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from archaeology.data.decode import pixels_of
from archaeology.data.fingerprint import fingerprint_of_files
from archaeology.data.registry import image_sources
from archaeology.data.source import Sample
from archaeology.data.splits import choose_split


class NpzSource:
    """One split of a file of arrays; the split's images lie in memory once one of them was asked for."""

    is_thread_safe = True

    def __init__(
        self, path: Path, split: str | None = None, *, name: str | None = None, classes: Sequence[str] = ()
    ) -> None:
        """Read the labels.

        Args:
            path: The file.
            split: Which split; may be left out where there is one.
            name: What to call the source, instead of `npz:PATH`.
            classes: Class names; the numbers themselves where left out.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no whole `.npz` file, its arrays are other ones, or there is no such split.
        """
        self.name = name or f"npz:{path}"
        self._path = path
        with _open(path) as arrays:
            splits = [key.removesuffix("_images") for key in arrays.files if key.endswith("_images")]
            if not splits:
                raise ValueError(
                    f"{path} must hold SPLIT_images and SPLIT_labels, but holds {', '.join(arrays.files)}."
                )
            self.split: str | None = choose_split(splits, split, self.name)
            key = f"{self.split}_labels"
            self._labels = _labels(_array(arrays, key, path), path, key) if key in arrays.files else None
        highest = max((label for label in self._labels or () if label is not None), default=-1)
        self.classes = tuple(classes) or tuple(str(i) for i in range(highest + 1))
        if highest >= len(self.classes):
            raise ValueError(f"labels of {path} must be below {len(self.classes)}, but one is {highest}.")
        self._images: np.ndarray | None = None
        self._lock = threading.Lock()
        self._count = len(self._labels) if self._labels is not None else len(self._pixels())

    @property
    def fingerprint(self) -> str:
        """Hash of the file's content, the split and the class names."""
        return fingerprint_of_files(
            self._path.parent, [self._path.name], "npz", self.split or "", *self.classes
        )

    def __len__(self) -> int:
        return self._count

    def image_id(self, index: int) -> str:
        """Split and row, for example `test/0042`."""
        return f"{self.split}/{index:0{len(str(len(self) - 1))}d}"

    def labels(self) -> list[int | None]:
        """The labels of all images, without decoding any."""
        return [None] * len(self) if self._labels is None else list(self._labels)

    def get(self, index: int) -> Sample:
        """Image `index` as RGB."""
        image = self._pixels()[index]
        if image.shape[-1] == 1 and image.ndim == 3:
            image = image[:, :, 0]
        label = None if self._labels is None else self._labels[index]
        return Sample(pixels_of(Image.fromarray(image)), label)

    def _pixels(self) -> np.ndarray:
        with self._lock:
            if self._images is None:
                with _open(self._path) as arrays:
                    images = _array(arrays, f"{self.split}_images", self._path)
                self._images = _checked(images, self._path, f"{self.split}_images")
                if self._labels is not None and len(self._labels) != len(images):
                    raise ValueError(
                        f"{self._path} must have one label per image, "
                        f"but {self.split} has {len(images)} images and {len(self._labels)} labels."
                    )
            return self._images


@image_sources.register("npz")
def open_npz(rest: str, split: str | None) -> NpzSource:
    """`npz:PATH`, a file in MedMNIST's layout."""
    if not rest:
        raise ValueError("npz: must be followed by a file, for example npz:data/pathmnist.npz.")
    return NpzSource(Path(rest).expanduser(), split)


@contextmanager
def _open(path: Path) -> Iterator["np.lib.npyio.NpzFile"]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be an .npz file, but there is no such file.")
    with path.open("rb") as file:
        try:
            arrays = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} must be a whole .npz file, but cannot be read ({error}).") from error
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} must be an .npz file of named arrays, but holds a single one.")
        yield arrays


def _array(arrays: "np.lib.npyio.NpzFile", key: str, path: Path) -> np.ndarray:
    try:
        return arrays[key]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{key} of {path} must be a whole array of numbers, but cannot be read ({error})."
        ) from error


def _labels(labels: np.ndarray, path: Path, key: str) -> list[int | None]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{key} of {path} must be one whole number per image, "
            f"but has shape {labels.shape} and type {labels.dtype}."
        )
    return [None if label < 0 else int(label) for label in labels]


def _checked(images: np.ndarray, path: Path, key: str) -> np.ndarray:
    is_colour = images.ndim == 4 and images.shape[-1] in (1, 3, 4)
    if not (images.ndim == 3 or is_colour) or images.dtype not in (np.uint8, np.uint16, np.bool_):
        raise ValueError(
            f"{key} of {path} must be 8 or 16 bits, (image, height, width) or (image, height, width, channel) "
            f"with 1, 3 or 4 channels, but has shape {images.shape} and type {images.dtype}."
        )
    if images.dtype == np.uint16:  # 65535 becomes 255
        return np.rint(images / 257).astype(np.uint8)
    return images.astype(np.uint8) * 255 if images.dtype == np.bool_ else images
