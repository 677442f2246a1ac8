import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archaeology.core.errors import BadImageError, UnknownNameError
from archaeology.data import decode_once, open_source
from archaeology.data.decode import decode_image
from archaeology.data.sources import parquet
from archaeology.data.sources.parquet import ParquetSource

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Encoded = Callable[..., bytes]


def write(
    path: Path,
    images: list[Any],
    *,
    names: list[str] | None = None,
    image_type: pa.DataType = IMAGE,
    rows_per_group: int = 4,
    **columns: pa.Array,
) -> Path:
    """A Parquet file with a column `image`, other columns, and class names in the metadata."""
    table = pa.table({"image": pa.array(images, image_type), **columns})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def stored(encoded: Encoded, *seeds: int) -> list[dict[str, object]]:
    return [{"bytes": encoded(seed), "path": f"cat/{seed}.png"} for seed in seeds]


def test_the_hugging_face_layout(tmp_path: Path, encoded: Encoded) -> None:
    boxes = pa.array([[0, 1, 5, 6], None, [2, 2, 3, 3]], pa.list_(pa.int32(), 3 + 1))
    write(
        tmp_path / "d" / "test.parquet",
        stored(encoded, 0, 1, 2),
        names=["cat", "dog"],
        label=pa.array([1, 0, -1]),
        box=boxes,
        extra=pa.array([1.5, 2.5, 3.5]),
    )
    source = ParquetSource(tmp_path / "d")
    assert (source.split, source.classes, len(source)) == ("test", ("cat", "dog"), 3)
    samples = [source.get(i) for i in range(3)]
    assert [sample.label for sample in samples] == source.labels() == [1, 0, None]
    assert [sample.box for sample in samples] == [(0, 1, 5, 6), None, (2, 2, 3, 3)]
    assert [source.image_id(i) for i in range(3)] == ["test/0", "test/1", "test/2"]
    for seed, sample in enumerate(samples):
        np.testing.assert_array_equal(sample.image.numpy(), decode_image(encoded(seed), "x").numpy())


def test_several_files_and_row_groups_are_one_list(
    tmp_path: Path, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with so little memory that row groups are read again and again."""
    monkeypatch.setattr(parquet, "MEMORY", 0)
    for part, count in enumerate((5, 1, 7)):
        seeds = [100 * part + i for i in range(count)]
        name = f"train-0000{part}-of-00003.parquet"
        write(tmp_path / name, stored(encoded, *seeds), label=pa.array(seeds), rows_per_group=2)
    write(tmp_path / "test.parquet", stored(encoded, 1), label=pa.array([0]))
    source = ParquetSource(tmp_path, "train")
    expected = [*range(5), 100, *range(200, 207)]
    assert len(source) == 13
    order = np.random.default_rng(0).permutation(13)
    assert [source.get(int(i)).label for i in order] == [expected[i] for i in order]
    for i in order:
        np.testing.assert_array_equal(source.get(int(i)).image, decode_image(encoded(expected[i]), "x"))
    assert len({source.image_id(i) for i in range(13)}) == 13


@pytest.mark.parametrize(
    ("files", "wanted", "split"),
    [
        (["train.parquet", "validation.parquet"], "val", "validation"),
        (["train-00000-of-00002-abc.parquet", "train-00001-of-00002-def.parquet"], None, "train"),
        (["data/test-00000-of-00001.parquet"], "test", "test"),
        (["train/0000.parquet", "test/0000.parquet", "test/0001.parquet"], "test", "test"),
        (["0000.parquet", "0001.parquet"], None, "data"),
        (["train_1.parquet", "train_2.parquet"], "train", "train"),
    ],
)
def test_file_names_say_the_split(
    tmp_path: Path, encoded: Encoded, files: list[str], wanted: str | None, split: str
) -> None:
    for name in files:
        write(tmp_path / "d" / name, stored(encoded, 0), label=pa.array([0]))
    source = open_source(f"parquet:{tmp_path / 'd'}", split=wanted)
    assert source.split == split
    assert len(source) == sum(1 for name in files if split in name or split == "data")


def test_one_file(tmp_path: Path, encoded: Encoded) -> None:
    path = write(tmp_path / "test.parquet", stored(encoded, 0), label=pa.array([0]))
    assert ParquetSource(path).split == "test" and ParquetSource(path, "test").name == f"parquet:{path}"
    with pytest.raises(UnknownNameError, match=r"No split of parquet:.* is called 'train'.*Known: test"):
        ParquetSource(path, "train")


def test_a_missing_split_lists_those_there_are(tmp_path: Path, encoded: Encoded) -> None:
    for split in ("test", "train"):
        write(tmp_path / f"{split}.parquet", stored(encoded, 0), label=pa.array([0]))
    with pytest.raises(UnknownNameError, match=r"is called 'val'.*Known: test, train"):
        ParquetSource(tmp_path, "val")
    with pytest.raises(ValueError, match="has the splits test, train; say which"):
        ParquetSource(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere must be a Parquet file or a folder of them"):
        ParquetSource(tmp_path / "nowhere")
    with pytest.raises(
        FileNotFoundError, match=r"must hold SPLIT\*\.parquet or SPLIT/\*\.parquet, but holds no"
    ):
        ParquetSource(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", None])
def test_a_broken_file(tmp_path: Path, encoded: Encoded, content: bytes | None) -> None:
    path = write(tmp_path / "test.parquet", stored(encoded, 0), label=pa.array([0]))
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(ValueError, match=r"test\.parquet must be a whole Parquet file, but cannot be read"):
        ParquetSource(path)


def test_other_column_names_are_listed(tmp_path: Path, encoded: Encoded) -> None:
    table = pa.table({"img": pa.array(stored(encoded, 0), IMAGE), "label": pa.array([0])})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(
        ValueError, match=r"columns must be image \{bytes, path\}.* has img \(struct.*label \(int64\)"
    ):
        ParquetSource(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", stored(encoded, 0), fine_label=pa.array([0]))
    with pytest.raises(
        ValueError, match=r"has image .*, fine_label \(int64\); rename the one that is the label"
    ):
        ParquetSource(tmp_path / "b.parquet")
    write(tmp_path / "c.parquet", ["a/path.png"], image_type=pa.string(), label=pa.array([0]))
    with pytest.raises(ValueError, match=r"columns must be image .* has image \(string\)"):
        ParquetSource(tmp_path / "c.parquet")


def test_files_of_one_split_with_different_columns(tmp_path: Path, encoded: Encoded) -> None:
    write(tmp_path / "test-0.parquet", stored(encoded, 0), label=pa.array([0]))
    write(tmp_path / "test-1.parquet", stored(encoded, 0))
    with pytest.raises(
        ValueError, match=r"must have the same columns, but test-0\.parquet has .* and test-1"
    ):
        ParquetSource(tmp_path)


def test_without_labels(tmp_path: Path, encoded: Encoded) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", stored(encoded, 0)))
    assert source.classes == () and source.get(0).label is None and source.labels() == [None]


def test_labels_without_names_are_named_by_their_numbers(tmp_path: Path, encoded: Encoded) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", stored(encoded, 0, 1), label=pa.array([2, None])))
    assert source.classes == ("0", "1", "2")
    assert [source.get(i).label for i in range(2)] == [2, None]


def test_labels_that_are_words(tmp_path: Path, encoded: Encoded) -> None:
    words = pa.array(["dog", None, "cat"])
    source = ParquetSource(write(tmp_path / "a.parquet", stored(encoded, 0, 1, 2), label=words))
    assert source.classes == ("cat", "dog") and [source.get(i).label for i in range(3)] == [1, None, 0]


def test_labels_that_are_neither(tmp_path: Path, encoded: Encoded) -> None:
    path = write(tmp_path / "a.parquet", stored(encoded, 0), label=pa.array([0.5]))
    with pytest.raises(
        ValueError, match=r"column label of .* must be whole numbers or strings, but is double"
    ):
        ParquetSource(path)


def test_a_label_beyond_the_names(tmp_path: Path, encoded: Encoded) -> None:
    path = write(tmp_path / "a.parquet", stored(encoded, 0), names=["cat"], label=pa.array([1]))
    with pytest.raises(ValueError, match=r"must be below the number of class names, 1, but one is 1"):
        ParquetSource(path)


def test_a_box_of_another_length(tmp_path: Path, encoded: Encoded) -> None:
    path = write(tmp_path / "a.parquet", stored(encoded, 0), label=pa.array([0]), box=pa.array([[1, 2]]))
    with pytest.raises(
        ValueError, match=r"box of .* must be \[x_min, y_min, x_max, y_max\], but is \[1, 2\]"
    ):
        ParquetSource(path).get(0)


def test_plain_bytes(tmp_path: Path, encoded: Encoded) -> None:
    source = ParquetSource(
        write(tmp_path / "a.parquet", [encoded(3)], image_type=pa.binary(), label=pa.array([0]))
    )
    np.testing.assert_array_equal(source.get(0).image, decode_image(encoded(3), "x"))


def test_a_path_without_bytes_is_read_beside_the_file(tmp_path: Path, encoded: Encoded) -> None:
    rows = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "b.png"}, {"bytes": None, "path": None}]
    source = ParquetSource(write(tmp_path / "d" / "x.parquet", rows, label=pa.array([0, 0, 0])))
    (tmp_path / "d" / "a.png").write_bytes(encoded(3))
    np.testing.assert_array_equal(source.get(0).image, decode_image(encoded(3), "x"))
    with pytest.raises(
        BadImageError, match=r"row 1 \(b\.png\) .* it holds a path and no bytes, and there is no such"
    ):
        source.get(1)
    with pytest.raises(BadImageError, match=r"row 2 must be .* but its bytes are missing"):
        source.get(2)


def test_a_bad_image_is_named_by_file_row_and_inner_path(tmp_path: Path, encoded: Encoded) -> None:
    rows = [*stored(encoded, 0), {"bytes": encoded(1)[:40], "path": "dog/broken.jpg"}]
    path = write(tmp_path / "test.parquet", rows, label=pa.array([0, 1]))
    with pytest.raises(BadImageError, match=r"test\.parquet row 1 \(dog/broken\.jpg\) must be an image"):
        decode_once(ParquetSource(path), (8, 8))
    decoded = decode_once(ParquetSource(path), (8, 8), skip_bad=True)
    assert [name for name, _ in decoded.skipped] == ["test/1"] and decoded.ids == ("test/0",)


def test_rows_outside_are_refused(tmp_path: Path, encoded: Encoded) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", stored(encoded, 0, 1), label=pa.array([0, 1])))
    for index in (-1, 2):
        with pytest.raises(IndexError, match="index must be 0 to 1"):
            source.get(index)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path, encoded: Encoded) -> None:
    write(tmp_path / "d" / "test.parquet", stored(encoded, 0, 1), label=pa.array([0, 1]))
    write(tmp_path / "d" / "train.parquet", stored(encoded, 0, 1), label=pa.array([0, 1]))
    test, train = (ParquetSource(tmp_path / "d", split).fingerprint for split in ("test", "train"))
    assert test != train
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    assert ParquetSource(tmp_path / "copy", "test").fingerprint == test
    assert ParquetSource(tmp_path / "copy" / "test.parquet").fingerprint == test
    write(tmp_path / "copy" / "test.parquet", stored(encoded, 0, 1), label=pa.array([1, 1]))
    assert ParquetSource(tmp_path / "copy", "test").fingerprint != test
