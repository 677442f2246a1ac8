"""What a run says of itself, inside git, outside git and in somebody else's git."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archaeology.core import provenance as module
from archaeology.core.provenance import git_state, package_versions, provenance


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("one")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_commit_and_dirty_flag(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == {"commit": commit, "is_dirty": False}
    (repository / "new.txt").write_text("not tracked, changes nothing")
    assert git_state(repository) == {"commit": commit, "is_dirty": False}
    (repository / "a.txt").write_text("two")
    assert git_state(repository) == {"commit": commit, "is_dirty": True}


def test_git_hooks_do_not_mislead(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git_state(repository)["commit"] is not None


def test_outside_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) == {"commit": None, "is_dirty": None}
    monkeypatch.setenv("PATH", str(tmp_path))  # a machine without git
    assert git_state(tmp_path) == {"commit": None, "is_dirty": None}


def test_copy_inside_somebody_elses_repository_does_not_count(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = repository / "venv" / "provenance.py"
    installed.parent.mkdir()
    shutil.copy(module.__file__, installed)
    monkeypatch.setattr(module, "__file__", str(installed))
    assert git_state() == {"commit": None, "is_dirty": None}
    git(repository, "add", ".")
    assert git_state() == {"commit": git(repository, "rev-parse", "HEAD"), "is_dirty": True}


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = package_versions()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["torch"].startswith("2.")
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package-at-all"))
    assert set(package_versions()) == {"python", "numpy"}


def test_run_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/somebody/bin/archaeology", "dig", "--data", "folder:my photos"])
    record = provenance(7, weights={"vit": "abc"})
    assert record["command"] == "archaeology dig --data 'folder:my photos'"
    assert (record["seed"], record["weights"]) == (7, {"vit": "abc"})
    assert set(record) == {"command", "started", "versions", "git", "machine", "seed", "weights"}
    assert record["started"].endswith("+00:00")
    assert "somebody" not in json.dumps(record)
