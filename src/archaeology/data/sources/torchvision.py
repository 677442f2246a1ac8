"""Any labelled image data set that torchvision knows, by its name there; fetched where torchvision can fetch it."""

import inspect
from numbers import Integral
from pathlib import Path
from typing import Any

from archaeology.core.errors import BadImageError
from archaeology.core.registry import unknown_name
from archaeology.core.storage import sha256_of
from archaeology.data.decode import bad_image, decode_image, pixels_of
from archaeology.data.fingerprint import fingerprint_of_files
from archaeology.data.places import data_folder, fetching
from archaeology.data.registry import image_sources
from archaeology.data.source import Sample
from archaeology.data.splits import choose_split

NO_DATA_SETS = ("ImageFolder", "DatasetFolder", "VisionDataset")
# torchvision has no list of its splits; of data sets that are not here the user's word is passed on as it is.
SPLITS = {
    "Country211": ("train", "valid", "test"),
    "DTD": ("train", "val", "test"),
    "FER2013": ("train", "test"),
    "FGVCAircraft": ("train", "val", "trainval", "test"),
    "Flowers102": ("train", "val", "test"),
    "Food101": ("train", "test"),
    "GTSRB": ("train", "test"),
    "ImageNet": ("train", "val"),
    "Imagenette": ("train", "val"),
    "OxfordIIITPet": ("trainval", "test"),
    "PCAM": ("train", "val", "test"),
    "RenderedSST2": ("train", "val", "test"),
    "StanfordCars": ("train", "test"),
    "STL10": ("train", "test"),
    "SVHN": ("train", "test"),
}


class TorchvisionSource:
    """A torchvision data set whose items are (image, class number)."""

    is_thread_safe = False  # who knows what a data set does inside

    def __init__(self, dataset: Any, *, name: str, split: str | None, root: Path | None) -> None:
        """Look at the first item and the class names.

        Args:
            dataset: Made without transforms.
            name: What to call it.
            split: Which split it is.
            root: The folder its files lie in, or None where it has none.

        Raises:
            ValueError: If it is empty or its items are something else.
        """
        self.name, self.split = name, split
        self._dataset, self._root = dataset, root
        if len(dataset) == 0:
            raise ValueError(f"{name} must hold at least one image, but its split {split} is empty.")
        _require_numbers(dataset, name)
        self.classes = _classes(dataset)
        self._fingerprint: str | None = None  # made when asked for: reading many files takes its time

    @property
    def fingerprint(self) -> str:
        """Hash of all files below the data set's folder, its name and split."""
        if self._fingerprint is None:
            facts = ("torchvision", type(self._dataset).__name__, self.split or "", *self.classes)
            self._fingerprint = sha256_of(*facts, repr(self._dataset))
            if self._root is not None:
                files = [
                    file.relative_to(self._root).as_posix()
                    for file in self._root.rglob("*")
                    if file.is_file()
                ]
                self._fingerprint = fingerprint_of_files(self._root, files, *facts)
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._dataset)

    def image_id(self, index: int) -> str:
        """Split and row, for example `test/0042`."""
        return f"{self.split or 'all'}/{index:0{len(str(len(self) - 1))}d}"

    def labels(self) -> list[int | None]:
        """The labels of all images, without decoding any."""
        return _all_labels(self._dataset)

    def get(self, index: int) -> Sample:
        """Item `index`.

        Raises:
            BadImageError: If it cannot be decoded.
        """
        try:
            image, target = self._dataset[index]
            pixels = image if hasattr(image, "permute") else pixels_of(image)
        except BadImageError:
            raise
        except Exception as error:  # a broken file makes Pillow raise almost anything
            raise bad_image(
                f"{self.name} {self.image_id(index)}", str(error) or type(error).__name__
            ) from error
        return Sample(pixels, _label(target))


@image_sources.register("torchvision")
def open_torchvision(rest: str, split: str | None) -> TorchvisionSource:
    """`torchvision:NAME`, for example `torchvision:SVHN`; its files lie in `$ARCHAEOLOGY_DATA/NAME`."""
    from torchvision import datasets  # heavy

    known = [
        name
        for name in datasets.__all__
        if inspect.isclass(getattr(datasets, name)) and name not in NO_DATA_SETS
    ]
    same = [name for name in known if name.lower() == rest.lower()]
    if not same:
        raise unknown_name("torchvision data set", rest, known)
    name = same[0]
    return torchvision_source(name, split, name=f"torchvision:{name}", root=data_folder() / name.lower())


def torchvision_source(
    dataset: str, split: str | None, *, name: str, root: Path, files: str | None = None
) -> TorchvisionSource:
    """Make torchvision's `dataset` in `root`, fetching it there if it is absent and can be fetched.

    Args:
        dataset: Name of torchvision's class.
        split: The user's word for the split; None where nothing was said.
        name: What to call the source.
        root: The folder for its files.
        files: Which files a person would have to put where; a general sentence where left out.

    Raises:
        FileNotFoundError: If it is absent and cannot be fetched; the message says which file to put where.
        ValueError: If there is no such split, or it is no data set for classification.
    """
    from torchvision import datasets  # heavy

    make = getattr(datasets, dataset)
    takes = inspect.signature(make).parameters
    chosen, arguments = _split_arguments(dataset, takes, split, name)
    if "root" in takes:
        root.mkdir(parents=True, exist_ok=True)
        arguments["root"] = root
    if "download" in takes:
        arguments["download"] = True
    if "loader" in takes or dataset == "ImageNet":  # ImageNet hides its arguments behind **kwargs
        arguments["loader"] = _load
    put = files or f"its files, as torchvision.datasets.{dataset} expects them, into {root}"
    try:
        with fetching(name, root, put):
            made = make(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must open by name and split alone, but {error}; choose another one."
        ) from error
    return TorchvisionSource(made, name=name, split=chosen, root=root if "root" in takes else None)


def _split_arguments(
    dataset: str, takes: Any, split: str | None, name: str
) -> tuple[str | None, dict[str, Any]]:
    """The split in the data set's own word and the arguments that ask for it."""
    if dataset in SPLITS:
        chosen = choose_split(SPLITS[dataset], split, name)
        return chosen, {"split": chosen}
    if "train" in takes:
        chosen = choose_split(("train", "test"), split, name)
        return chosen, {"train": chosen == "train"}
    if "split" in takes:
        return split, {} if split is None else {"split": split}
    if split is not None:
        raise ValueError(f"{name} must have splits to choose {split!r}, but has none; leave --split out.")
    return None, {}


def _load(path: str | Path) -> Any:
    """A `loader` for torchvision, so that a broken image is reported with its path and all modes are treated alike."""
    try:
        return decode_image(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise bad_image(str(path), f"it cannot be read ({error.strerror})") from error


def _require_numbers(dataset: Any, name: str) -> None:
    try:
        target = dataset[0][1]
    except BadImageError:  # `get` will report it, or it will be left out
        return
    if not _is_number(target):
        raise ValueError(
            f"{name} must give (image, class number), but its targets are {type(target).__name__}; "
            "choose a data set for classification."
        )


def _is_number(target: Any) -> bool:
    return isinstance(target, Integral) or getattr(target, "ndim", None) == 0


def _classes(dataset: Any) -> tuple[str, ...]:
    """The data set's class names; where one has synonyms the first, where that is taken all of them."""
    names = getattr(dataset, "classes", None)
    if not names:
        count = getattr(dataset, "num_classes", None)
        highest = (
            max((label for label in _all_labels(dataset) if label is not None), default=-1)
            if not count
            else 0
        )
        return tuple(str(i) for i in range(count or highest + 1))
    synonyms = [(name,) if isinstance(name, str) else tuple(name) for name in names]
    first = [words[0] for words in synonyms]
    return tuple(words[0] if first.count(words[0]) == 1 else ", ".join(words) for words in synonyms)


def _all_labels(dataset: Any) -> list[int | None]:
    """From where the data set keeps them; by decoding everything only where it keeps none."""
    for field in ("targets", "labels", "_labels"):
        if (labels := getattr(dataset, field, None)) is not None:
            return [_label(label) for label in labels]
    for field in ("samples", "_samples"):  # pairs of path and label
        pairs = getattr(dataset, field, None)
        if pairs and all(len(pair) == 2 and isinstance(pair[1], int) for pair in pairs):
            return [_label(label) for _, label in pairs]
    return [_label_of_item(dataset, index) for index in range(len(dataset))]


def _label(target: Any) -> int | None:
    number = int(target)
    return None if number < 0 else number


def _label_of_item(dataset: Any, index: int) -> int | None:
    try:
        return _label(dataset[index][1])
    except Exception:  # a broken image; `get` will say which
        return None
