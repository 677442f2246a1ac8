"""A fingerprint says which bytes were used: files are hashed by content, once per size and time of change.

The remembered hashes lie beside the decoded images, so opening a data set again costs one `stat` a file. A
file that changed within the last two seconds is not remembered, since its clock may be too coarse to tell.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from archaeology.core.progress import progress
from archaeology.core.storage import cache_folder, read_json, sha256_of, sha256_of_file, write_json

SETTLED_SECONDS = 2.0

# relative path -> [size, mtime_ns, sha256]
_Memory = dict[str, list]


def fingerprint_of_files(root: Path, paths: Sequence[str], *facts: str) -> str:
    """Hex sha256 over `facts` and every file's relative path and content.

    Args:
        root: The folder the paths are relative to; where it lies does not matter.
        paths: Files, relative, with forward slashes.
        facts: Whatever else decides about images and labels, for example the split.
    """
    hashes = content_hashes(root, paths)
    parts = [text for path in sorted(paths) for text in (path, hashes[path])]
    return sha256_of(*facts, *parts)


def content_hashes(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Hex sha256 of each file's content; "unreadable" where a file cannot be read, as `get` will say."""
    notebook = cache_folder() / "hashes" / f"{sha256_of(str(root.resolve()))[:32]}.json"
    known = _remembered(notebook)
    facts = {path: _size_and_time(root / path) for path in paths}
    hashes = {
        path: known[path][2] for path in paths if path in known and tuple(known[path][:2]) == facts[path]
    }
    missing = [path for path in paths if path not in hashes]
    if not missing:
        return hashes
    with (
        progress("fingerprinting files", len(missing)) as advance,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for path, digest in zip(missing, pool.map(lambda path: _hash(root / path), missing), strict=True):
            hashes[path] = digest
            advance()
    settled = time.time_ns() - int(SETTLED_SECONDS * 1e9)
    fresh = {
        path: [*fact, hashes[path]]
        for path in missing
        if (fact := facts[path]) is not None and fact[1] < settled and hashes[path] != "unreadable"
    }
    if fresh:
        with suppress(
            OSError
        ):  # remembering saves time only; an unwritable cache is reported when it is needed
            write_json(notebook, known | fresh)
    return hashes


def _remembered(notebook: Path) -> _Memory:
    try:
        known = read_json(notebook)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _hash(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError:
        return "unreadable"
