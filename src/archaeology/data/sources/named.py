"""Well-known data sets by a short name, wherever they lie: `cifar10`, `food101`, `imagenet` and others.

`$ARCHAEOLOGY_DATA/NAME` is looked at first, and may hold Parquet files (SPLIT*.parquet), one `.npz` file, the raw
files that torchvision reads, or class folders. Only if nothing is there the raw files are fetched.
"""

from dataclasses import dataclass
from pathlib import Path

from archaeology.data.places import data_folder
from archaeology.data.registry import Opener, image_sources
from archaeology.data.source import ImageSource
from archaeology.data.sources.folder import FolderSource
from archaeology.data.sources.npz import NpzSource
from archaeology.data.sources.parquet import ParquetSource
from archaeology.data.sources.tiny_imagenet import TinyImageNet
from archaeology.data.sources.torchvision import torchvision_source


@dataclass(frozen=True)
class Named:
    """What torchvision calls a data set and how its raw files lie below `$ARCHAEOLOGY_DATA/NAME`.

    Attributes:
        dataset: torchvision's class.
        files: What a person has to put there, path and origin.
        raw: Names that are there once raw files are.
    """

    dataset: str
    files: tuple[tuple[str, str], ...]
    raw: tuple[str, ...]


NAMED = {
    "cifar10": Named(
        "CIFAR10",
        (("cifar-10-python.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"),),
        ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    ),
    "cifar100": Named(
        "CIFAR100",
        (("cifar-100-python.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"),),
        ("cifar-100-python", "cifar-100-python.tar.gz"),
    ),
    "food101": Named(
        "Food101",
        (("food-101.tar.gz", "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"),),
        ("food-101", "food-101.tar.gz"),
    ),
    "pets": Named(
        "OxfordIIITPet",
        (
            ("oxford-iiit-pet/images.tar.gz", "https://www.robots.ox.ac.uk/~vgg/data/pets/"),
            ("oxford-iiit-pet/annotations.tar.gz", "https://www.robots.ox.ac.uk/~vgg/data/pets/"),
        ),
        ("oxford-iiit-pet",),
    ),
    "flowers102": Named(
        "Flowers102",
        (
            ("flowers-102/102flowers.tgz", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"),
            ("flowers-102/imagelabels.mat", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"),
            ("flowers-102/setid.mat", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"),
        ),
        ("flowers-102",),
    ),
    "eurosat": Named(
        "EuroSAT",
        (("eurosat/EuroSAT.zip", "https://huggingface.co/datasets/torchgeo/eurosat"),),
        ("eurosat",),
    ),
    "imagenet": Named(
        "ImageNet",
        (
            ("ILSVRC2012_devkit_t12.tar.gz", "https://image-net.org/download (needs an account)"),
            ("ILSVRC2012_img_val.tar", "https://image-net.org/download (for --split val)"),
            ("ILSVRC2012_img_train.tar", "https://image-net.org/download (for --split train)"),
        ),
        ("meta.bin", "ILSVRC2012_devkit_t12.tar.gz"),
    ),
}


def open_tiny_imagenet(split: str | None) -> ImageSource:
    """Tiny ImageNet, likewise; torchvision does not know it, so it has a file of its own."""
    place = data_folder() / "tiny_imagenet"
    if (
        not TinyImageNet.lies_in(place)
        and (found := open_converted(place, split, "tiny_imagenet")) is not None
    ):
        return found
    return TinyImageNet(place, split)


def open_named(name: str, split: str | None) -> ImageSource:
    """The data set called `name`, from `$ARCHAEOLOGY_DATA/name` in whatever form it lies there, else fetched.

    Raises:
        FileNotFoundError: If it is not there and cannot be fetched; the message says which file to put where.
        ValueError: If there is no such split.
    """
    place, named = data_folder() / name, NAMED[name]
    if not any((place / raw).exists() for raw in named.raw):
        if (found := open_converted(place, split, name)) is not None:
            return found
    files = " and ".join(f"{file} (from {origin})" for file, origin in named.files)
    return torchvision_source(named.dataset, split, name=name, root=place, files=f"{files} into {place}")


def _opener(name: str) -> Opener:
    def open_by_name(rest: str, split: str | None) -> ImageSource:
        if rest:
            raise ValueError(f"{name} takes nothing behind a colon, but got {rest!r}; choose with --split.")
        return open_tiny_imagenet(split) if name == "tiny_imagenet" else open_named(name, split)

    open_by_name.__doc__ = f"`{name}`, from `$ARCHAEOLOGY_DATA/{name}`, else fetched where that can be done."
    return open_by_name


for _name in (*NAMED, "tiny_imagenet"):
    image_sources.register(_name)(_opener(_name))


def open_converted(place: Path, split: str | None, name: str) -> ImageSource | None:
    """The data set in `place` as Parquet, `.npz` or class folders; None where nothing does."""
    if not place.is_dir():
        return None
    if any(any(place.glob(pattern)) for pattern in ("*.parquet", "data/*.parquet", "*/*.parquet")):
        return ParquetSource(place, split, name=name)
    arrays = sorted(place.glob("*.npz"))
    if len(arrays) == 1:
        return NpzSource(arrays[0], split, name=name)
    if any(entry.is_dir() for entry in place.iterdir()):
        return FolderSource(place, split, name=name)
    return None
