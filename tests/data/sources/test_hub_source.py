import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archaeology.core.errors import BadImageError, MissingExtraError, UnknownNameError
from archaeology.data import decode_once, open_source
from archaeology.data.decode import decode_image

Encoded = Callable[..., bytes]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        MissingExtraError, match=r"hub:beans needs the package 'datasets'.*attention-archaeology\[hub\]"
    ):
        open_source("hub:beans")


@pytest.mark.parametrize("rest", ["", "?image=x", "beans?split=test", "beans?label=a&wrong=b"])
def test_wrong_options_show_the_right_form(rest: str) -> None:
    with pytest.raises(
        ValueError, match=r"must be followed by NAME or NAME\?config=\.\.\.&image=\.\.\.&label="
    ):
        open_source(f"hub:{rest}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, encoded: Encoded, tmp_path: Path) -> list[tuple[str, str | None]]:
    """`load_dataset` answers with a made-up data set; returns what was asked for."""
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[str, str | None]] = []

    def made(count: int) -> Any:
        features = datasets.Features(
            {
                "image": datasets.Image(),
                "label": datasets.ClassLabel(names=["cat", "dog"]),
                "coarse": datasets.ClassLabel(names=["animal"]),
            }
        )
        rows = {
            "image": [{"bytes": encoded(seed), "path": None} for seed in range(count)],
            "label": [1, 0, -1][:count],
            "coarse": [0] * count,
        }
        return datasets.Dataset.from_dict(rows, features=features)

    def load(name: str, config: str | None = None) -> Any:
        asked.append((name, config))
        return datasets.DatasetDict({"train": made(2), "test": made(3)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_images_labels_and_classes(hub: list[tuple[str, str | None]], encoded: Encoded) -> None:
    source = open_source("hub:org/pets?config=small", split="test")
    assert hub == [("org/pets", "small")]
    assert (source.name, source.split, source.classes) == (
        "hub:org/pets?config=small",
        "test",
        ("cat", "dog"),
    )
    assert [source.get(i).label for i in range(3)] == source.labels() == [1, 0, None]
    np.testing.assert_array_equal(source.get(2).image, decode_image(encoded(2), "x"))
    decoded = decode_once(source, (11, 13))
    assert decoded.ids == ("test/0", "test/1", "test/2") and decoded.labels.tolist() == [1, 0, -1]
    assert source.fingerprint != open_source("hub:org/pets?config=small", split="train").fingerprint


def test_columns_can_be_chosen(hub: object) -> None:
    assert open_source("hub:pets?label=coarse&image=image", split="test").classes == ("animal",)
    with pytest.raises(
        ValueError, match=r"label must be a column of type ClassLabel, but 'image' is none; it has image"
    ):
        open_source("hub:pets?label=image", split="test")


def test_a_missing_split_lists_those_there_are(hub: object) -> None:
    with pytest.raises(UnknownNameError, match=r"No split of hub:pets is called 'val'.*Known: train, test"):
        open_source("hub:pets", split="val")


def test_several_columns_must_be_chosen_from(monkeypatch: pytest.MonkeyPatch, encoded: Encoded) -> None:
    datasets = pytest.importorskip("datasets")
    labels = {name: datasets.ClassLabel(names=["x"]) for name in ("fine", "coarse")}
    rows = {"img": [{"bytes": encoded(), "path": None}], "fine": [0], "coarse": [0]}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features({"img": datasets.Image(), **labels}))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict({"test": made}))
    with pytest.raises(
        ValueError, match=r"several columns of type ClassLabel: fine, coarse; say which, with \?label=fine"
    ):
        open_source("hub:many")
    assert open_source("hub:many?label=coarse").get(0).label == 0


def test_a_data_set_without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"text": ["a"]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict({"test": made}))
    with pytest.raises(
        ValueError, match=r"hub:words must have a column of type Image, but has text \(Value\)"
    ):
        open_source("hub:words")


def test_bad_rows_are_named(monkeypatch: pytest.MonkeyPatch, encoded: Encoded, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    gone = str(tmp_path / "gone.png")
    rows = {"image": [{"bytes": encoded()[:30], "path": None}, None, {"bytes": None, "path": gone}]}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict({"test": made}))
    source = open_source("hub:bad")
    assert source.classes == () and source.labels() == [None] * 3
    for index, message in enumerate(
        (r"hub:bad test/0 must be", "there is none in this row", r"gone\.png.*cannot be read")
    ):
        with pytest.raises(BadImageError, match=message):
            source.get(index)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def fail(*_: object) -> None:
        raise ConnectionError("Couldn't reach 'beans' on the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(
        FileNotFoundError, match=r"hub:beans must be on the hub or in its cache .*Couldn't reach.*parquet:"
    ):
        open_source("hub:beans")


def test_files_in_the_cache_are_hashed_by_content(
    monkeypatch: pytest.MonkeyPatch, encoded: Encoded, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": encoded(), "path": None}]}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))
    fingerprints = []
    for name in ("one", "two"):
        made.save_to_disk(tmp_path / name)
        stored = datasets.Dataset.load_from_disk(str(tmp_path / name))
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, d=stored: datasets.DatasetDict({"test": d}))
        fingerprints.append(open_source("hub:same").fingerprint)
    assert fingerprints[0] == fingerprints[1]
