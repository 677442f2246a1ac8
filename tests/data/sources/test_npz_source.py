from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from archaeology.core.errors import UnknownNameError
from archaeology.data import decode_once, open_source
from archaeology.data.sources.npz import NpzSource

COUNT, HEIGHT, WIDTH = 5, 7, 11


def some(shape: tuple[int, ...], dtype: type = np.uint8, high: int = 256) -> NDArray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def save(path: Path, **arrays: NDArray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """MedMNIST's layout with three splits."""
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        arrays[f"{split}_images"] = some((COUNT + number, HEIGHT, WIDTH, 3))
        arrays[f"{split}_labels"] = np.arange(COUNT + number, dtype=np.uint8)[:, None] % 3
    return save(tmp_path / "a.npz", **arrays)


def test_the_medmnist_layout(colours: Path) -> None:
    source = open_source(f"npz:{colours}", split="validation")
    assert (source.split, len(source), source.classes) == ("val", COUNT + 1, ("0", "1", "2"))
    assert source.image_id(5) == "val/5" and source.name == f"npz:{colours}"
    for index in range(len(source)):
        sample = source.get(index)
        assert sample.label == index % 3
        expected = some((COUNT + 1, HEIGHT, WIDTH, 3))[index].transpose(2, 0, 1)
        np.testing.assert_array_equal(sample.image, expected)


def test_decoding(colours: Path) -> None:
    decoded = decode_once(open_source(f"npz:{colours}", split="train"), (HEIGHT, WIDTH))
    np.testing.assert_array_equal(decoded.images, some((COUNT, HEIGHT, WIDTH, 3)).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("shape", [(COUNT, HEIGHT, WIDTH), (COUNT, HEIGHT, WIDTH, 1)])
def test_grey(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = NpzSource(
        save(tmp_path / "a.npz", test_images=some(shape), test_labels=np.zeros(COUNT, np.int64))
    )
    expected = some(shape)[2].reshape(HEIGHT, WIDTH)
    for channel in range(3):
        np.testing.assert_array_equal(source.get(2).image[channel], expected)


def test_16_bits_are_scaled_and_one_bit_is_black_and_white(tmp_path: Path) -> None:
    wide = np.array([[[0, 256, 257, 65535]]], np.uint16)
    source = NpzSource(save(tmp_path / "wide.npz", test_images=wide))
    assert source.get(0).image[0].tolist() == [[0, 1, 1, 255]]
    source = NpzSource(save(tmp_path / "bits.npz", test_images=np.array([[[True, False]]])))
    assert source.get(0).image[1].tolist() == [[255, 0]]


def test_alpha_lies_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 1, 2, 4), np.uint8)
    pixels[0, 0, 1] = (9, 8, 7, 255)
    source = NpzSource(save(tmp_path / "a.npz", test_images=pixels))
    assert source.get(0).image[:, 0].T.tolist() == [[255, 255, 255], [9, 8, 7]]


def test_without_labels_and_with_unknown_ones(tmp_path: Path) -> None:
    bare = NpzSource(save(tmp_path / "a.npz", test_images=some((COUNT, HEIGHT, WIDTH))))
    assert (len(bare), bare.classes, bare.get(0).label) == (COUNT, (), None)
    path = save(tmp_path / "b.npz", test_images=some((2, 3, 3)), test_labels=np.array([-1, 1]))
    assert [NpzSource(path).get(i).label for i in range(2)] == NpzSource(path).labels() == [None, 1]
    assert bare.labels() == [None] * COUNT


def test_given_class_names_must_be_enough(colours: Path) -> None:
    assert NpzSource(colours, "test", classes=("a", "b", "c")).classes == ("a", "b", "c")
    with pytest.raises(ValueError, match=r"labels of .* must be below 2, but one is 2"):
        NpzSource(colours, "test", classes=("a", "b"))


def test_splits(colours: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"No split of npz:.* is called 'extra'.*Known: train, val, test"
    ):
        NpzSource(colours, "extra")
    with pytest.raises(ValueError, match="has the splits train, val, test; say which"):
        NpzSource(colours)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_broken_file(colours: Path, content: bytes | None) -> None:
    colours.write_bytes(colours.read_bytes()[:-30] if content is None else content)
    with pytest.raises(ValueError, match=r"a\.npz must be a whole \.npz file, but cannot be read"):
        NpzSource(colours, "test")


def test_a_damaged_array(colours: Path) -> None:
    content = bytearray(colours.read_bytes())
    place = content.index(b"test_images.npy") + 200
    content[place : place + 50] = bytes(50)
    colours.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"test_images of .*a\.npz must be a whole array of numbers, but cannot be read"
    ):
        NpzSource(colours, "test").get(0)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"b\.npz must be an \.npz file, but there is no such file"):
        NpzSource(tmp_path / "b.npz")


def test_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", some((3,)))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"must be an \.npz file of named arrays, but holds a single one"):
        NpzSource(tmp_path / "a.npz")


def test_other_arrays_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold SPLIT_images and SPLIT_labels, but holds x, y"):
        NpzSource(save(tmp_path / "a.npz", x=some((3,)), y=some((3,))))


@pytest.mark.parametrize("images", [some((3, 5)), some((3, 7, 7, 7)), some((3, 5, 5), np.float32)])
def test_arrays_that_are_no_images(tmp_path: Path, images: NDArray) -> None:
    path = save(tmp_path / "a.npz", test_images=images, test_labels=np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"test_images of .* must be 8 or 16 bits, .* but has shape \(3, "):
        NpzSource(path).get(0)


@pytest.mark.parametrize("labels", [np.zeros((3, 14), np.int64), np.zeros(3, np.float32)])
def test_labels_that_are_not_one_number_each(tmp_path: Path, labels: NDArray) -> None:
    path = save(tmp_path / "a.npz", test_images=some((3, 5, 5)), test_labels=labels)
    with pytest.raises(
        ValueError, match=r"test_labels of .* must be one whole number per image, but has shape"
    ):
        NpzSource(path)


def test_more_labels_than_images(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", test_images=some((3, 5, 5)), test_labels=np.zeros(4, np.int64))
    with pytest.raises(
        ValueError, match=r"must have one label per image, but test has 3 images and 4 labels"
    ):
        NpzSource(path).get(0)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", test_images=some((3, 5, 5)), test_labels=np.array([0, "x", None], object))
    with pytest.raises(
        ValueError, match=r"test_labels of .* must be a whole array of numbers, but .*allow_pickle=False"
    ):
        NpzSource(path)


def test_fingerprints(colours: Path) -> None:
    test, train = (NpzSource(colours, split).fingerprint for split in ("test", "train"))
    assert test != train and NpzSource(colours, "test", classes=("a", "b", "c")).fingerprint != test
    save(colours, test_images=some((3, 5, 5)))
    assert NpzSource(colours, "test").fingerprint != test
