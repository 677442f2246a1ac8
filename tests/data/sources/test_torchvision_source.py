import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from archaeology.core.errors import BadImageError, UnknownNameError
from archaeology.data import decode_once, open_source
from archaeology.data.sources.torchvision import SPLITS, TorchvisionSource

Picture = Callable[..., Path]


class Pairs:
    """A stand-in for a torchvision data set."""

    def __init__(self, items: list[tuple[object, object]], **fields: object) -> None:
        self.items = items
        self.__dict__.update(fields)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[object, object]:
        if isinstance(self.items[index][0], Exception):
            raise self.items[index][0]
        return self.items[index]


def wrapped(*items: tuple[object, object], **fields: object) -> TorchvisionSource:
    return TorchvisionSource(Pairs(list(items), **fields), name="made", split="test", root=None)


def pixels(value: int) -> torch.Tensor:
    return torch.full((3, 4, 5), value, dtype=torch.uint8)


def test_fake_data_needs_no_files_and_no_network(offline: None) -> None:
    source = open_source("torchvision:fakedata")
    assert (source.name, source.split, len(source.classes)) == ("torchvision:FakeData", None, 10)
    sample = source.get(3)
    assert sample.image.shape == (3, 224, 224) and 0 <= (sample.label or 0) < 10
    assert (
        source.image_id(3) == "all/003"
        and source.fingerprint == open_source("torchvision:FakeData").fingerprint
    )
    with pytest.raises(
        ValueError, match=r"must have splits to choose 'test', but has none; leave --split out"
    ):
        open_source("torchvision:FakeData", split="test")


def test_raw_files_are_found_in_the_data_folder(tmp_path: Path, picture: Picture, offline: None) -> None:
    base = tmp_path / "named" / "food101" / "food-101"
    for number, name in enumerate(("pie/1", "pie/2", "soup/3")):
        picture(base / "images" / f"{name}.jpg", number)
    (base / "meta").mkdir()
    (base / "meta" / "test.json").write_text(json.dumps({"pie": ["pie/1", "pie/2"], "soup": ["soup/3"]}))
    source = open_source("torchvision:Food101", split="test")
    assert source.classes == ("pie", "soup") and source.split == "test"
    decoded = decode_once(source, (11, 13))
    assert decoded.labels.tolist() == [0, 0, 1] and decoded.ids == ("test/0", "test/1", "test/2")
    (base / "images" / "pie" / "2.jpg").write_bytes(b"broken")
    broken = open_source("torchvision:Food101", split="test")
    assert broken.fingerprint != source.fingerprint
    with pytest.raises(BadImageError, match=r"images/pie/2\.jpg must be an image that can be decoded"):
        broken.get(1)


def test_a_broken_first_image_can_be_skipped_like_any_other(
    tmp_path: Path, picture: Picture, offline: None
) -> None:
    folder = tmp_path / "named" / "eurosat" / "eurosat" / "2750" / "River"
    picture(folder / "a.jpg").write_bytes(b"")
    picture(folder / "b.jpg")
    source = open_source("torchvision:EuroSAT")
    decoded = decode_once(source, (8, 8), skip_bad=True)
    assert decoded.ids == ("all/1",) and decoded.skipped[0][0] == "all/0" and decoded.classes == ("River",)


def test_absent_and_offline_says_what_to_do(tmp_path: Path, offline: None) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"torchvision:SVHN must be in .*named/svhn.* cannot be fetched .*no net"
    ):
        open_source("torchvision:SVHN", split="test")


@pytest.mark.parametrize(
    ("wrong", "hint"), [("CIFAR11", "did you mean 'CIFAR10'"), ("ImageFolder", "Known: ")]
)
def test_unknown_names(wrong: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"No torchvision data set is called '{wrong}'.*{hint}"):
        open_source(f"torchvision:{wrong}")


def test_unknown_splits() -> None:
    with pytest.raises(
        UnknownNameError, match=r"No split of torchvision:Food101 is called 'val'.*Known: train, test"
    ):
        open_source("torchvision:Food101", split="val")
    with pytest.raises(ValueError, match="torchvision:MNIST has the splits train, test; say which"):
        open_source("torchvision:MNIST")


def test_data_sets_that_need_more_than_a_name(offline: None) -> None:
    with pytest.raises(
        ValueError, match=r"torchvision:Kinetics must open by name and split alone, but .*frames_per_clip"
    ):
        open_source("torchvision:Kinetics")


@pytest.mark.parametrize("name", SPLITS)
def test_our_list_of_splits_is_torchvisions(name: str, tmp_path: Path) -> None:
    """torchvision's own complaint about an unknown split lists the known ones."""
    if name == "PCAM":
        pytest.importorskip("h5py", reason="PCAM needs h5py")
    make = getattr(datasets, name)
    with pytest.raises(ValueError, match="Unknown value '\\?' for argument split") as caught:
        make(root=tmp_path, split="?") if "root" in inspect.signature(make).parameters else make(split="?")
    for split in SPLITS[name]:
        assert f"'{split}'" in str(caught.value)


def test_items_that_are_no_pairs_of_image_and_number() -> None:
    with pytest.raises(ValueError, match=r"made must give \(image, class number\), but its targets are dict"):
        wrapped((pixels(0), {"boxes": []}))


def test_an_empty_data_set() -> None:
    with pytest.raises(ValueError, match="made must hold at least one image, but its split test is empty"):
        wrapped()


def test_negative_labels_mean_unlabelled_and_tensors_are_numbers() -> None:
    source = wrapped((pixels(0), torch.tensor(1)), (pixels(1), np.int64(-1)), classes=["a", "b"])
    assert [source.get(i).label for i in range(2)] == source.labels() == [1, None]


def test_a_failing_item_is_a_bad_image() -> None:
    source = wrapped((pixels(0), 0), (OSError("broken data stream"), 0), classes=["a"])
    with pytest.raises(BadImageError, match=r"made test/1 must be an image .* but broken data stream"):
        source.get(1)
    assert source.labels() == [0, None]


@pytest.mark.parametrize(
    "fields",
    [
        {"targets": torch.tensor([2, -1])},
        {"labels": np.array([2, -1])},
        {"_labels": [2, -1]},
        {"samples": [("a.png", 2), ("b.png", -1)]},
        {"_samples": [("a.png", 2), ("b.png", -1)]},
    ],
)
def test_labels_come_from_where_the_data_set_keeps_them(fields: dict[str, object]) -> None:
    """The items say otherwise here, to tell where the answer comes from."""
    assert wrapped((pixels(0), 0), (pixels(1), 0), classes=["a", "b", "c"], **fields).labels() == [2, None]


@pytest.mark.parametrize(
    ("fields", "classes"),
    [
        ({"classes": ["a", "b"]}, ("a", "b")),
        (
            {"classes": [("crane", "bird"), ("crane", "machine"), ("owl", "bird")]},
            ("crane, bird", "crane, machine", "owl"),
        ),
        ({"targets": torch.tensor([0, 2])}, ("0", "1", "2")),
        ({"labels": np.array([0, 1])}, ("0", "1")),
        ({"num_classes": 3}, ("0", "1", "2")),
        ({"_samples": [("a.png", 1), ("b.png", 0)]}, ("0", "1")),
        ({}, ("0", "1", "2", "3")),
    ],
)
def test_class_names(fields: dict[str, object], classes: tuple[str, ...]) -> None:
    assert wrapped((pixels(0), 3), (pixels(1), 0), **fields).classes == classes
