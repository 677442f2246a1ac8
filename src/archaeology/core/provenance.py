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
    """The commit of a checkout and whether its files were changed since; `commit` is None outside git.

    Args:
        folder: Inside the checkout; None for the library's own, where a copy of the library installed inside
            somebody else's repository does not count.
    """
    where = folder or Path(__file__).parent
    # Inside a git hook, variables such as GIT_DIR point at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        if folder is None:
            ask("ls-files", "--error-unmatch", Path(__file__).name)
        return {
            "commit": ask("rev-parse", "HEAD"),
            "is_dirty": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "is_dirty": None}


def provenance(seed: int, **facts: Any) -> dict[str, Any]:
    """What a run records of itself: command, versions, commit, machine, seed, and `facts` of the caller."""
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
