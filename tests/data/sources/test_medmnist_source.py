import importlib.util
from pathlib import Path

import numpy as np
import pytest

from archaeology.core.errors import UnknownNameError
from archaeology.data import open_source
from archaeology.data.sources.medmnist import CLASSES, MD5


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, test_images=np.zeros((3, 4, 4), np.uint8), test_labels=np.array([[1], [0], [1]], np.uint8))


@pytest.mark.parametrize("folder", ["named/medmnist", "home/.medmnist"])
@pytest.mark.parametrize("name", ["pneumoniamnist", "pneumoniamnist_224"])
def test_found_by_name(tmp_path: Path, folder: str, name: str, offline: None) -> None:
    save(tmp_path / folder / f"{name}.npz")
    source = open_source(f"medmnist:{name}", split="test")
    assert (source.name, source.classes, len(source)) == (f"medmnist:{name}", ("normal", "pneumonia"), 3)
    assert [source.get(i).label for i in range(3)] == [1, 0, 1]


def test_absent_and_offline_says_which_file_to_put_where(tmp_path: Path, offline: None) -> None:
    place = tmp_path / "named" / "medmnist"
    with pytest.raises(
        FileNotFoundError, match=rf"put pathmnist\.npz \(from https://zenodo\S+\) into {place}"
    ):
        open_source("medmnist:pathmnist", split="test")


@pytest.mark.parametrize("name", ["pathmist", "chestmnist", "organmnist3d", "pathmnist_32", ""])
def test_unknown_names_list_the_known(name: str) -> None:
    with pytest.raises(
        UnknownNameError, match=rf"No MedMNIST data set is called '{name}'.*Known: pathmnist, "
    ):
        open_source(f"medmnist:{name}")


def test_every_data_set_has_classes_and_a_checksum() -> None:
    assert set(CLASSES) == set(MD5) and len(CLASSES) == 11
    assert [len(names.split(", ")) for names in CLASSES.values()] == [9, 7, 4, 2, 5, 2, 8, 8, 11, 11, 11]


@pytest.mark.skipif(importlib.util.find_spec("medmnist") is None, reason="medmnist is not installed")
def test_checksums_are_the_packages() -> None:
    from medmnist import INFO

    assert {name: INFO[name]["MD5"] for name in MD5} == MD5
