"""Where a number comes from: versions, commit, command, machine and time, enough to make it again."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("attention-archaeology", "torch", "torchvision", "timm", "transformers", "numpy", "pillow")


def package_versions() -> dict[str, str]:
    """The installed versions of the packages that can change a number; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path | None = None) -> dict[str, Any]:
    """The commit of the library's own checkout and whether it was changed since; `commit` is None outside git."""
    where = folder or Path(__file__).parent

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=where, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "is_dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "is_dirty": None}


def provenance(seed: int, **facts: Any) -> dict[str, Any]:
    """What a run must record of itself: command, versions, commit, machine, seed, plus the `facts` of the caller."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "git": git_state(),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "seed": seed,
        **facts,
    }
