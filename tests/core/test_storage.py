"""Files are whole or absent, whatever happens while they are written."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archaeology.core import storage
from archaeology.core.storage import (
    atomic_path,
    cache_folder,
    json_text,
    plain_json,
    read_arrays,
    read_json,
    read_table,
    read_tensors,
    sha256_of,
    sha256_of_file,
    write_arrays,
    write_json,
    write_table,
    write_tensors,
    write_text,
)


def assert_holds_only(folder: Path, *names: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def make_folder(path: Path, text: str, files: int = 1) -> None:
    path.mkdir()
    for number in range(files):
        (path / f"{number}.txt").write_text(text)


def test_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert_holds_only(target.parent, "a.txt")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_the_old_file_and_no_rubbish(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert_holds_only(tmp_path, "a.txt")


def test_folder_replaces_folder(tmp_path: Path) -> None:
    target = tmp_path / "store"
    for text in ("first", "second"):
        with atomic_path(target) as temporary:
            make_folder(temporary, text)
        assert (target / "0.txt").read_text() == text
        assert_holds_only(tmp_path, "store")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        make_folder(temporary, "half")
        raise RuntimeError
    assert (target / "0.txt").read_text() == "second"
    assert_holds_only(tmp_path, "store")


def test_old_folder_is_never_seen_half_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever files are being removed, the target is either complete or not there."""
    target = tmp_path / "store"
    make_folder(target, "old", files=5)
    seen = []
    remove = storage.shutil.rmtree

    def watch(path: Path) -> None:
        seen.append(sorted(file.read_text() for file in target.iterdir()) if target.exists() else None)
        remove(path)

    monkeypatch.setattr(storage.shutil, "rmtree", watch)
    with atomic_path(target) as temporary:
        make_folder(temporary, "new", files=5)
    assert seen == [["new"] * 5]


KILLED = """
import os, signal, sys
from pathlib import Path
from archaeology.core.storage import atomic_path
target = Path(sys.argv[1])
with atomic_path(target) as temporary:
    if sys.argv[2] == "folder":
        temporary.mkdir()
        temporary = temporary / "0.txt"
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_killed_while_writing(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "thing"
    inside = target / "0.txt" if kind == "folder" else target
    if kind == "folder":
        make_folder(target, "old")
    else:
        write_text(target, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), kind], check=False)
    assert done.returncode == -signal.SIGKILL
    assert inside.read_text() == "old"
    with atomic_path(target) as temporary:  # and it can be written again
        if kind == "folder":
            make_folder(temporary, "new")
        else:
            temporary.write_text("new")
    assert inside.read_text() == "new"


def test_files_are_flushed_before_they_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, flushed = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(target.exists()))
    write_text(target, "text")
    assert flushed == [False]


def test_json_of_what_research_code_holds() -> None:
    value = {
        "nan": math.nan,
        "infinity": [math.inf, -math.inf],
        "number": np.float32(0.5),
        "missing": np.float64("nan"),
        "flag": np.bool_(True),
        "array": np.array([[1, 2], [3, 4]]),
        "tensor": torch.tensor([1.5, math.nan]),
        "tuple": (1, "a"),
        "path": Path("a/b"),
        7: None,
        "ü": "ß",
    }
    text = json_text(value)
    assert text.endswith("}\n") and "NaN" not in text and "ü" in text
    assert json.loads(text) == {
        "nan": None,
        "infinity": [None, None],
        "number": 0.5,
        "missing": None,
        "flag": True,
        "array": [[1, 2], [3, 4]],
        "tensor": [1.5, None],
        "tuple": [1, "a"],
        "path": "a/b",
        "7": None,
        "ü": "ß",
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(values)
def test_plain_values_come_back_from_json(value: object) -> None:
    assert json.loads(json_text(value)) == value
    assert plain_json(value) == value


def test_json_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, math.nan]})
    assert read_json(path) == {"a": [1, None]}
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
    for broken in (b'{"a": [1', b"\xff\xfe\x00"):
        path.write_bytes(broken)
        with pytest.raises(
            ValueError, match=r"a\.json must hold JSON, but does not .*; remove it or restore it"
        ):
            read_json(path)


def test_table_comes_back(tmp_path: Path) -> None:
    rows = [{"id": "a", "value": 1.5, "label": 3}, {"id": "b", "value": math.nan, "label": None}]
    write_table(tmp_path / "rows.parquet", rows)
    back = read_table(tmp_path / "rows.parquet")
    assert back.column_names == ["id", "value", "label"]
    assert back["label"].to_pylist() == [3, None]
    assert math.isnan(back["value"].to_pylist()[1])
    write_table(tmp_path / "rows.parquet", pa.table({"x": [1, 2]}))
    assert read_table(tmp_path / "rows.parquet").to_pydict() == {"x": [1, 2]}
    assert_holds_only(tmp_path, "rows.parquet")


def test_table_rows_must_be_alike(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"same keys, but row 0 has \['a'\] and row 1 has \['a', 'b'\]"):
        write_table(tmp_path / "rows.parquet", [{"a": 1}, {"a": 2, "b": 3}])
    assert_holds_only(tmp_path)


def test_broken_tables(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(
        FileNotFoundError, match=r"rows\.parquet must be a Parquet file, but there is no such"
    ):
        read_table(path)
    write_table(path, [{"a": 1}])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"rows\.parquet must be a whole Parquet file, but cannot be read"):
        read_table(path)


def test_tensors_come_back(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = torch.arange(30, dtype=torch.float32).reshape(5, 6)
    weight = torch.nn.Parameter(whole.to(torch.bfloat16))
    write_tensors(path, {"a": whole.T, "b": whole[1], "tied": whole[1], "w": weight}, {"card": "x"})
    back = read_tensors(path)
    assert set(back) == {"a", "b", "tied", "w"}
    assert torch.equal(back["a"], whole.T) and torch.equal(back["tied"], whole[1])
    assert back["w"].dtype == torch.bfloat16 and torch.equal(back["w"], weight.detach())
    assert_holds_only(tmp_path, "model.safetensors")
    write_text(tmp_path / "card.md", "")
    assert path.stat().st_mode == (tmp_path / "card.md").stat().st_mode  # others may read it as well


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_tensors(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors must be a whole safetensors file, but cannot"):
        read_tensors(path)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"model\.safetensors must be a safetensors file, but there is no"
    ):
        read_tensors(path)


def test_arrays_come_back_with_the_names_of_their_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "specimens.zarr"
    attention = np.random.default_rng(0).random((2, 3, 5, 7, 11)).astype(np.float16)
    arrays = {
        "attention": (attention, ("image", "layer", "head", "query", "key")),
        "image_index": (np.array([4, 9]), ("image",)),
        "flat": (np.arange(6.0).reshape(2, 3), ("image", "column")),
        "empty": (np.zeros((0, 3, 4), np.uint8), ("image", "row", "column")),
        "alone": (np.array(2.5), ()),
    }
    write_arrays(path, arrays, {"layers": ["blocks.0"], "rows": np.int64(4), "missing": math.nan})
    group = read_arrays(path)
    assert dict(group.attrs) == {"layers": ["blocks.0"], "rows": 4, "missing": None}
    assert set(group.array_keys()) == set(arrays)
    for name, (array, dimensions) in arrays.items():
        assert group[name].dtype == array.dtype
        assert tuple(group[name].metadata.dimension_names or ()) == dimensions
        np.testing.assert_array_equal(group[name][...], array)
    stored = group["attention"]
    assert stored.shards == (1, 3, 5, 7, 11) and stored.chunks == (1, 1, 1, 7, 11)
    write_arrays(path, {"other": (np.ones(3), ("image",))}, {})
    assert set(read_arrays(path).array_keys()) == {"other"}  # the old group is replaced, not added to
    assert_holds_only(tmp_path, "specimens.zarr")


def test_no_arrays(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"a\.zarr must be a Zarr folder, but there is no such folder"
    ):
        read_arrays(tmp_path / "a.zarr")


def test_fingerprints(tmp_path: Path) -> None:
    assert sha256_of("ab", "c") != sha256_of("a", "bc") != sha256_of("abc")
    assert sha256_of("ab", b"c") == sha256_of(b"ab", "c")
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("ARCHAEOLOGY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "attention-archaeology"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "attention-archaeology"
