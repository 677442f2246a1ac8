"""A folder of pictures: sub-folders are classes, folders called train, val or test are splits.

Three layouts are told apart by looking: `split/class/.../image`, `class/.../image`, and images alone, which are then
unlabelled. Folders are splits where each one with images in it is called like one (train, training, val, valid,
validation, dev, test, testing, in any case), or at least two are. Classes are the folders of all splits together,
sorted, so a class means the same number everywhere; one class alone is allowed, and images beside class folders have
no label.
"""

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from archaeology.data.decode import SUFFIXES, bad_image, decode_image
from archaeology.data.fingerprint import fingerprint_of_files
from archaeology.data.registry import image_sources
from archaeology.data.source import Sample
from archaeology.data.splits import choose_split, is_split_name

log = logging.getLogger(__name__)


class FolderSource:
    """The images of one split of a folder, sorted by path."""

    is_thread_safe = True

    def __init__(self, path: Path, split: str | None = None, *, name: str | None = None) -> None:
        """List the images; nothing is read yet.

        Args:
            path: The folder.
            split: Which split; may be left out where there is one or none.
            name: What to call the source, instead of `folder:PATH`.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it holds no image, or there is no such split.
        """
        self.name = name or f"folder:{path}"
        self._root = path
        listed = list_images(path)
        splits = _splits(listed)
        if splits:
            folder = choose_split(splits, split, self.name)
            self._paths = [image for image in listed if image.startswith(f"{folder}/")]
            self.split: str | None = folder
        elif split is None:
            self._paths, self.split = listed, None
        else:
            raise ValueError(
                f"{self.name} must have a folder for each split to choose {split!r}, but has none; leave --split out."
            )
        depth = 1 if splits else 0
        self.classes = tuple(sorted({name for image in listed if (name := _class_name(image, depth))}))
        number = {name: i for i, name in enumerate(self.classes)}
        self._labels = [number.get(_class_name(image, depth)) for image in self._paths]
        self._fingerprint: str | None = None  # made when asked for: reading many files takes its time
        self._report()

    @property
    def fingerprint(self) -> str:
        """Hash of every image's path and content, so it is the same wherever the folder lies."""
        if self._fingerprint is None:
            self._fingerprint = self.fingerprint_of(range(len(self)))
        return self._fingerprint

    def fingerprint_of(self, rows: Sequence[int]) -> str:
        """Hash of these images alone, so that few of many are known without reading the others."""
        paths = [self._paths[row] for row in rows]
        return fingerprint_of_files(self._root, paths, "folder", self.split or "", *self.classes)

    def __len__(self) -> int:
        return len(self._paths)

    def image_id(self, index: int) -> str:
        """The path inside the folder, with forward slashes."""
        return self._paths[index]

    def labels(self) -> list[int | None]:
        """The labels of all images, without decoding any."""
        return self._labels

    def get(self, index: int) -> Sample:
        """Read and decode image `index`.

        Raises:
            BadImageError: If it cannot be read or decoded.
        """
        path = self._root / self._paths[index]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise bad_image(str(path), f"it cannot be read ({error.strerror})") from error
        return Sample(decode_image(data, str(path)), self._labels[index])

    def _report(self) -> None:
        log.info("%s: %d images, %d classes.", self.name, len(self), len(self.classes))
        if len(self.classes) == 1:
            log.warning("%s has one class, %s: accuracies say little.", self.name, self.classes[0])
        unlabelled = self._labels.count(None)
        if self.classes and unlabelled:
            log.warning("%s: %d images lie in no class folder and have no label.", self.name, unlabelled)


@image_sources.register("folder")
def open_folder(rest: str, split: str | None) -> FolderSource:
    """`folder:PATH`: class folders, with or without split folders above them, or images alone."""
    if not rest:
        raise ValueError("folder: must be followed by a folder, for example folder:photos/.")
    return FolderSource(Path(rest).expanduser(), split)


def list_images(root: Path) -> list[str]:
    """The images below `root` as sorted relative paths; how many other files there are is logged.

    Symbolic links are followed, but no folder is listed twice and no link upwards is followed at all, so loops end.
    What starts with a dot is left out, and so is `__MACOSX`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no image in it, or a name is not UTF-8.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise FileNotFoundError(f"{root} must be a folder of images, but {what}.")
    images: list[str] = []
    others: Counter[str] = Counter()
    for path in _files(root):
        relative = path.relative_to(root).as_posix()
        if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
            images.append(_utf8(relative))
        else:
            others[path.suffix.lower() or path.name] += 1
    if others:
        kinds = ", ".join(f"{kind} {count}" for kind, count in others.most_common(5))
        log.info("%s: %d other files are ignored (%s).", root, others.total(), kinds)
    if not images:
        raise ValueError(
            f"{root} must hold images ({' '.join(sorted(SUFFIXES))}), "
            f"but holds none and {others.total()} other files."
        )
    return sorted(images, key=lambda image: image.split("/"))


def _files(root: Path) -> Iterator[Path]:
    """All files below `root`, real folders first and linked ones after them, each real folder once."""
    folders, links = deque([root]), deque[Path]()
    seen = {_identity(root)}
    while folders:
        folder = folders.popleft()
        for entry in _entries(folder):
            path = folder / entry.name
            if not _is_folder(entry):
                yield path
            elif entry.is_symlink():
                links.append(path)
            elif (identity := _identity(path)) not in seen:
                seen.add(identity)
                folders.append(path)
        while links and not folders:
            link = links.popleft()
            if (identity := _identity(link)) not in seen and not _leads_up(link):
                seen.add(identity)
                folders.append(link)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    return sorted(visible, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _leads_up(link: Path) -> bool:
    return link.resolve() in link.parent.resolve().parents


def _utf8(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"file names must be UTF-8, but one is {os.fsencode(path)!r}; rename it.") from None
    return path


def _splits(images: list[str]) -> list[str]:
    """The folders that are splits, in their order; none where the folders are classes or there are none."""
    folders = list(dict.fromkeys(image.split("/")[0] for image in images if "/" in image))
    called_so = [folder for folder in folders if is_split_name(folder)]
    return folders if called_so and (len(called_so) == len(folders) or len(called_so) > 1) else []


def _class_name(image: str, depth: int) -> str:
    parts = image.split("/")
    return parts[depth] if len(parts) > depth + 1 else ""
