"""The shared real images, where they are beside the repository."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from archaeology.data import decode_once, open_source

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real images are not here")


def test_cifar10_by_its_short_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHAEOLOGY_DATA", str(SHARED))
    source = open_source("cifar10", split="test")
    assert (source.name, len(source), source.classes[9]) == ("cifar10", 10_000, "truck")
    assert source.fingerprint == open_source(f"parquet:{SHARED / 'cifar10'}", split="test").fingerprint
    rows = pq.read_table(SHARED / "cifar10" / "test.parquet").slice(4321, 3).to_pylist()
    for index, row in enumerate(rows, start=4321):
        sample = source.get(index)
        expected = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(sample.image, expected)
        assert sample.label == row["label"]


def test_tiny_imagenet_with_boxes_smaller() -> None:
    source = open_source(f"parquet:{SHARED / 'tiny-imagenet-20'}", split="val")
    assert source.split == "validation" and len(source.classes) == 20
    decoded = decode_once(source, (32, 32))
    assert decoded.images.shape == (1000, 3, 32, 32) and decoded.boxes is not None
    stored = pq.read_table(SHARED / "tiny-imagenet-20" / "validation.parquet")
    boxes = np.array(stored["box"].to_pylist(), np.float32)
    boxes[(boxes[:, 2] == boxes[:, 0]) | (boxes[:, 3] == boxes[:, 1])] = np.nan  # two of them have no area
    assert np.isnan(boxes[:, 0]).sum() == 2
    np.testing.assert_allclose(decoded.boxes, boxes / 2, atol=1e-6)
    assert decoded.labels.tolist() == stored["label"].to_pylist()
    row = stored["image"][77].as_py()
    small = Image.open(io.BytesIO(row["bytes"])).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(decoded.images[77], np.asarray(small).transpose(2, 0, 1))
    part = decoded.take(100, seed=0)
    assert np.bincount(part.labels).tolist() == [5] * 20


def test_our_rows_are_those_of_the_package_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    path = SHARED / "tiny-imagenet-20" / "validation.parquet"
    theirs = datasets.load_dataset("parquet", data_files=str(path), split="train")
    ours = open_source(f"parquet:{path}")
    assert theirs.features["label"].names == list(ours.classes)
    for index in (0, 499, 999):
        row, sample = theirs[index], ours.get(index)
        np.testing.assert_array_equal(
            sample.image, np.asarray(row["image"].convert("RGB")).transpose(2, 0, 1)
        )
        assert (sample.label, list(sample.box or ())) == (row["label"], row["box"])
