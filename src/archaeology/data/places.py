"""Where named data sets lie: `$ARCHAEOLOGY_DATA/NAME`, and what to tell people who have to put them there by hand."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from archaeology.core.storage import cache_folder

log = logging.getLogger(__name__)


def data_folder() -> Path:
    """The folder of named data sets: `$ARCHAEOLOGY_DATA`, else beside the decoded images in the user's cache."""
    named = os.environ.get("ARCHAEOLOGY_DATA")
    return Path(named).expanduser() if named else cache_folder() / "datasets"


@contextlib.contextmanager
def fetching(name: str, place: Path, files: str) -> Iterator[None]:
    """Download inside this block; where that fails, the error says which file to put where.

    Args:
        name: The data set.
        place: Its folder.
        files: Which files, from where, go into which part of the folder.

    Raises:
        FileNotFoundError: In place of whatever kept the download from succeeding.
    """
    log.info("%s is looked for in %s and fetched where it is not there.", name, place)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print; standard output is for results
            yield
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{name} must be in {place} or be fetched, but is not there and cannot be fetched ({error}); "
            f"put {files}, or set ARCHAEOLOGY_DATA to the folder that holds {place.name}/."
        ) from error
