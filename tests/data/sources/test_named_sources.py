from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from archaeology.core.errors import UnknownNameError
from archaeology.data import open_source
from archaeology.data.sources.named import NAMED

Picture = Callable[..., Path]

FILES = {
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "food101": "food-101.tar.gz",
    "pets": "oxford-iiit-pet/images.tar.gz",
    "flowers102": "flowers-102/setid.mat",
    "eurosat": "eurosat/EuroSAT.zip",
    "imagenet": "ILSVRC2012_img_val.tar",
    "tiny_imagenet": "tiny-imagenet-200.zip",
}
SPLIT = {"eurosat": None, "imagenet": "val", "tiny_imagenet": "val"}


@pytest.fixture
def named(tmp_path: Path) -> Path:
    return tmp_path / "named"  # what conftest.py names in ARCHAEOLOGY_DATA


@pytest.mark.parametrize("name", FILES)
def test_absent_and_offline_says_which_file_to_put_where(name: str, named: Path, offline: None) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_source(name, split=SPLIT.get(name, "test"))
    message = str(caught.value)
    assert (
        f"{name} must be in {named / name} or be fetched, but is not there and cannot be fetched" in message
    )
    assert FILES[name] in message and f" into {named / name}" in message
    assert f"or set ARCHAEOLOGY_DATA to the folder that holds {name}/." in message


def test_every_name_says_what_to_put() -> None:
    assert set(FILES) == {*NAMED, "tiny_imagenet"}


def test_without_the_variable_the_users_cache_is_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    monkeypatch.delenv("ARCHAEOLOGY_DATA")
    with pytest.raises(
        FileNotFoundError, match=rf"must be in {tmp_path}/cache/datasets/cifar10 or be fetched"
    ):
        open_source("cifar10", split="test")


def test_parquet_is_found(named: Path, encoded: Callable[..., bytes], offline: None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (named / "cifar10").mkdir(parents=True)
    images = pa.array(
        [{"bytes": encoded(), "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"image": images, "label": pa.array([0])}), named / "cifar10" / "test.parquet")
    source = open_source("cifar10", split="test")
    assert (source.name, source.split, len(source)) == ("cifar10", "test", 1)
    with pytest.raises(UnknownNameError, match="No split of cifar10 is called 'train'"):
        open_source("cifar10", split="train")


def test_arrays_are_found(named: Path, offline: None) -> None:
    (named / "eurosat").mkdir(parents=True)
    np.savez(named / "eurosat" / "any.npz", test_images=np.zeros((2, 3, 3), np.uint8))
    # a folder of this name inside would be torchvision's raw files
    assert (open_source("eurosat").name, len(open_source("eurosat"))) == ("eurosat", 2)


def test_class_folders_are_found(named: Path, picture: Picture, offline: None) -> None:
    for split in ("train", "val"):
        for wnid in ("n01440764", "n01443537"):
            picture(named / "imagenet" / split / wnid / "a.JPEG")
    source = open_source("imagenet", split="validation")
    assert (source.name, source.split, source.classes) == ("imagenet", "val", ("n01440764", "n01443537"))


def test_raw_pets(named: Path, picture: Picture, offline: None) -> None:
    base = named / "pets" / "oxford-iiit-pet"
    for number, name in enumerate(("Bengal_1", "great_dane_2")):
        picture(base / "images" / f"{name}.jpg", number)
    (base / "annotations").mkdir()
    (base / "annotations" / "test.txt").write_text("Bengal_1 1 1 1\ngreat_dane_2 2 2 1\n")
    source = open_source("pets", split="test")
    assert source.classes == ("Bengal", "Great Dane")
    assert [source.get(i).label for i in range(2)] == [0, 1] and source.get(0).image.shape == (3, 11, 13)


def test_raw_flowers(named: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch, offline: None) -> None:
    from torchvision.datasets import Flowers102

    base = named / "flowers102" / "flowers-102"
    for number in (1, 2, 3):
        picture(base / "jpg" / f"image_{number:05d}.jpg", number)
    savemat(base / "imagelabels.mat", {"labels": np.array([[5, 9, 5]])})
    savemat(
        base / "setid.mat", {"trnid": np.array([[1, 3]]), "valid": np.array([[2]]), "tstid": np.array([[2]])}
    )
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)  # ours has another md5
    source = open_source("flowers102", split="train")
    assert len(source.classes) == 102 and [source.get(i).label for i in range(2)] == [4, 4]


def test_raw_imagenet(named: Path, picture: Picture, offline: None) -> None:
    root = named / "imagenet"
    for wnid in ("n1", "n2"):
        picture(root / "val" / wnid / "a.JPEG")
    torch.save(({"n1": ("tench", "Tinca tinca"), "n2": ("goldfish",)}, ["n1", "n2"]), root / "meta.bin")
    source = open_source("imagenet", split="val")
    assert source.classes == ("tench", "goldfish") and source.get(1).label == 1


def test_raw_cifar_archive_is_unpacked_where_it_was_put(
    named: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    """A small archive of our own, with its md5 in place of the real one: no network is asked."""
    import hashlib
    import pickle
    import tarfile
    from io import BytesIO

    from torchvision.datasets import CIFAR10

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3 * 32 * 32), dtype=np.uint8)
    files = {
        "test_batch": pickle.dumps({"data": pixels, "labels": [1, 0]}),
        "batches.meta": pickle.dumps({"label_names": ["cat", "dog"]}),
    }
    root = named / "cifar10"
    root.mkdir(parents=True)
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(
        CIFAR10, "tgz_md5", hashlib.md5((root / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    )
    monkeypatch.setattr(CIFAR10, "train_list", [])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    source = open_source("cifar10", split="test")
    assert source.classes == ("cat", "dog") and [source.get(i).label for i in range(2)] == [1, 0]
    np.testing.assert_array_equal(source.get(1).image, pixels[1].reshape(3, 32, 32))


def test_nothing_is_printed_where_results_go(
    named: Path, capsys: pytest.CaptureFixture[str], offline: None
) -> None:
    (named / "cifar10").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        open_source("cifar10", split="test")
    assert capsys.readouterr().out == ""


@pytest.fixture
def tiny(named: Path, picture: Picture) -> Path:
    """Three classes, two of them with the same first word."""
    root = named / "tiny_imagenet" / "tiny-imagenet-200"
    for number, wnid in enumerate(("n3", "n1", "n2")):
        for image in range(2):
            picture(root / "train" / wnid / "images" / f"{wnid}_{image}.JPEG", 10 * number + image)
        rows = [f"{wnid}_{image}.JPEG\t1\t2\t{5 + image}\t7\n" for image in range(2)]
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(rows))
    for image in range(2):
        picture(root / "val" / "images" / f"val_{image}.JPEG", 50 + image)
    annotations = "val_0.JPEG\tn2\t0\t1\t2\t3\nval_1.JPEG\tn1\t4\t5\t6\t7\n"
    (root / "val" / "val_annotations.txt").write_text(annotations)
    (root / "wnids.txt").write_text("n3\nn1\nn2\n")
    words = "n0\tnothing\nn1\tcrane, bird\nn2\tcrane, machine\nn3\towl, bird of night\n"
    (root / "words.txt").write_text(words)
    return root


def test_tiny_imagenet(tiny: Path, offline: None) -> None:
    source = open_source("tiny_imagenet", split="val")
    assert source.classes == ("crane, bird", "crane, machine", "owl")
    assert [source.get(i).label for i in range(2)] == [1, 0]
    assert source.get(1).box == (4.0, 5.0, 6.0, 7.0) and source.image_id(1) == "val/images/val_1.JPEG"
    train = open_source("tiny_imagenet", split="train")
    assert [train.get(i).label for i in range(6)] == train.labels() == [0, 0, 1, 1, 2, 2]
    assert train.image_id(5) == "train/n3/images/n3_1.JPEG" and train.get(5).box == (1.0, 2.0, 6.0, 7.0)
    assert (
        len({train.fingerprint, source.fingerprint, train.fingerprint_of([0]), train.fingerprint_of([1])})
        == 4
    )


def test_tiny_imagenet_directly_in_its_place(tiny: Path, named: Path, offline: None) -> None:
    tiny.rename(named / "moved")
    (named / "tiny_imagenet").rmdir()
    (named / "moved").rename(named / "tiny_imagenet")
    assert len(open_source("tiny_imagenet", split="val")) == 2


def test_tiny_imagenet_has_no_labelled_test_split(tiny: Path, offline: None) -> None:
    with pytest.raises(
        UnknownNameError, match=r"No split of tiny_imagenet is called 'test'.*Known: train, val"
    ):
        open_source("tiny_imagenet", split="test")


def test_tiny_imagenet_names_bad_images(tiny: Path, offline: None) -> None:
    from archaeology.core.errors import BadImageError

    (tiny / "val" / "images" / "val_0.JPEG").write_bytes(b"")
    (tiny / "val" / "images" / "val_1.JPEG").unlink()
    source = open_source("tiny_imagenet", split="val")
    with pytest.raises(BadImageError, match=r"val_0\.JPEG .* it is empty"):
        source.get(0)
    with pytest.raises(BadImageError, match=r"val_1\.JPEG .* it cannot be read"):
        source.get(1)


def test_tiny_imagenet_as_parquet(named: Path, offline: None) -> None:
    with pytest.raises(ValueError, match="must be a whole Parquet file"):
        (named / "tiny_imagenet").mkdir(parents=True)
        (named / "tiny_imagenet" / "val.parquet").write_bytes(b"")
        open_source("tiny_imagenet", split="val")
