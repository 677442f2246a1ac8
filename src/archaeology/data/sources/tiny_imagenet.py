"""Tiny ImageNet: 200 classes of ImageNet at 64x64 pixels, a bounding box for every image, in Stanford's own layout.

`train` holds 100,000 images and `val` 10,000; the labels of `test` were never published, so it is not offered.
"""

from collections.abc import Sequence
from pathlib import Path

from archaeology.data.decode import bad_image, decode_image
from archaeology.data.fingerprint import fingerprint_of_files
from archaeology.data.places import fetching
from archaeology.data.source import Sample
from archaeology.data.splits import choose_split

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"


class TinyImageNet:
    """One split, sorted by path."""

    is_thread_safe = True

    def __init__(self, place: Path, split: str | None = None) -> None:
        """Read the lists of classes and boxes, fetching everything first where it is absent.

        Args:
            place: The folder that holds, or is to hold, `tiny-imagenet-200/`.
            split: `train` or `val`.

        Raises:
            FileNotFoundError: If it is absent and cannot be fetched; the message says which file to put where.
            ValueError: If there is no such split.
        """
        self.name = "tiny_imagenet"
        self.split: str | None = choose_split(("train", "val"), split, self.name)
        if not any((place / inner / "wnids.txt").is_file() for inner in ("", FOLDER)):
            _fetch(place)
        self._root = place if (place / "wnids.txt").is_file() else place / FOLDER
        wnids = sorted((self._root / "wnids.txt").read_text(encoding="utf-8").split())
        self.classes = _names(self._root / "words.txt", wnids)
        number = {wnid: i for i, wnid in enumerate(wnids)}
        rows = self._train_rows(wnids) if self.split == "train" else self._val_rows()
        self._rows = sorted((path, number[wnid], box) for path, wnid, box in rows)
        self._fingerprint: str | None = None  # made when asked for: reading many files takes its time

    @staticmethod
    def lies_in(place: Path) -> bool:
        """Whether its raw files, or the archive, are in `place`."""
        return any((place / raw).exists() for raw in ("wnids.txt", FOLDER, f"{FOLDER}.zip"))

    @property
    def fingerprint(self) -> str:
        """Hash of every image's path and content, its class and its box."""
        if self._fingerprint is None:
            self._fingerprint = self.fingerprint_of(range(len(self)))
        return self._fingerprint

    def fingerprint_of(self, rows: Sequence[int]) -> str:
        """Hash of these images alone, so that few of many are known without reading the others."""
        chosen = [self._rows[row] for row in rows]
        paths = [path for path, _, _ in chosen]
        return fingerprint_of_files(self._root, paths, self.name, repr(chosen), *self.classes)

    def __len__(self) -> int:
        return len(self._rows)

    def image_id(self, index: int) -> str:
        """The path inside `tiny-imagenet-200/`."""
        return self._rows[index][0]

    def labels(self) -> list[int | None]:
        """The labels of all images, without decoding any."""
        return [label for _, label, _ in self._rows]

    def get(self, index: int) -> Sample:
        """Image `index` with its box.

        Raises:
            BadImageError: If it cannot be read or decoded.
        """
        relative, label, box = self._rows[index]
        path = self._root / relative
        try:
            data = path.read_bytes()
        except OSError as error:
            raise bad_image(str(path), f"it cannot be read ({error.strerror})") from error
        return Sample(decode_image(data, str(path)), label, box)

    def _train_rows(self, wnids: list[str]) -> list[tuple[str, str, tuple[float, float, float, float]]]:
        return [
            (f"train/{wnid}/images/{fields[0]}", wnid, _box(fields[1:]))
            for wnid in wnids
            for fields in _table(self._root / "train" / wnid / f"{wnid}_boxes.txt")
        ]

    def _val_rows(self) -> list[tuple[str, str, tuple[float, float, float, float]]]:
        table = _table(self._root / "val" / "val_annotations.txt")
        return [(f"val/images/{fields[0]}", fields[1], _box(fields[2:])) for fields in table]


def _fetch(place: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive  # heavy

    with fetching("tiny_imagenet", place, f"{FOLDER}.zip (from {URL}) into {place}"):
        download_and_extract_archive(URL, download_root=str(place), md5=MD5)


def _table(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]


def _box(fields: list[str]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = (float(field) for field in fields[:4])
    return x_min, y_min, x_max, y_max


def _names(path: Path, wnids: list[str]) -> tuple[str, ...]:
    """Each class by its first word; by all of them where two classes share the first."""
    words = {fields[0]: fields[1] for fields in _table(path)}
    first = [words[wnid].split(",")[0] for wnid in wnids]
    return tuple(
        name if first.count(name) == 1 else words[wnid] for name, wnid in zip(first, wnids, strict=True)
    )
