import json
import os
import time
from pathlib import Path

import pytest

from archaeology.core import storage
from archaeology.data import fingerprint
from archaeology.data.fingerprint import content_hashes, fingerprint_of_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files that have not changed for a minute."""
    for name in ("a", "b"):
        write(tmp_path / "files" / name, name)
    return tmp_path / "files"


def write(path: Path, text: str, age: float = 60.0) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))


def count_hashing(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return storage.sha256_of_file(path)

    monkeypatch.setattr(fingerprint, "sha256_of_file", counted)
    return hashed


def test_depends_on_content_name_and_facts_and_on_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = fingerprint_of_files(folder, ["a", "b"], "test")
    assert len(first) == 64
    assert fingerprint_of_files(folder, ["b", "a"], "test") == first
    folder.rename(tmp_path / "moved")
    assert fingerprint_of_files(tmp_path / "moved", ["a", "b"], "test") == first
    assert fingerprint_of_files(tmp_path / "moved", ["a"], "test") != first
    assert fingerprint_of_files(tmp_path / "moved", ["a", "b"], "train") != first
    (tmp_path / "moved" / "b").rename(tmp_path / "moved" / "c")
    assert fingerprint_of_files(tmp_path / "moved", ["a", "c"], "test") != first


def test_a_second_look_hashes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = count_hashing(monkeypatch)
    first = content_hashes(folder, ["a", "b"])
    assert len(hashed) == 2
    assert content_hashes(folder, ["a", "b"]) == first
    assert len(hashed) == 2


def test_only_what_changed_is_hashed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_hashes(folder, ["a", "b"])
    write(folder / "b", "B", age=30.0)  # same size, another time
    hashed = count_hashing(monkeypatch)
    after = content_hashes(folder, ["a", "b"])
    assert [path.name for path in hashed] == ["b"]
    assert after["a"] == before["a"] and after["b"] != before["b"]


def test_a_file_that_just_changed_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within one tick of the file system's clock leave the same size and time behind."""
    write(folder / "a", "1", age=0.0)
    stamp = (folder / "a").stat()
    first = content_hashes(folder, ["a"])["a"]
    (folder / "a").write_text("2")
    os.utime(folder / "a", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert content_hashes(folder, ["a"])["a"] != first


def test_an_absent_file_is_unreadable_and_not_remembered(folder: Path) -> None:
    assert content_hashes(folder, ["c"]) == {"c": "unreadable"}
    write(folder / "c", "c")
    assert content_hashes(folder, ["c"])["c"] != "unreadable"


@pytest.mark.parametrize("text", ["", "[]", "no json"])
def test_a_broken_notebook_is_written_anew(folder: Path, text: str) -> None:
    first = content_hashes(folder, ["a", "b"])
    (notebook,) = (storage.cache_folder() / "hashes").iterdir()
    notebook.write_text(text)
    assert content_hashes(folder, ["a", "b"]) == first
    assert set(json.loads(notebook.read_text())) == {"a", "b"}


def test_an_unwritable_cache_does_no_harm_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "file" / "below"))
    assert set(content_hashes(folder, ["a", "b"])) == {"a", "b"}
