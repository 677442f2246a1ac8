"""Finished work is kept in parts, named by what went into them: a killed dig finds them again and does the rest.

A part's name is a hash of the stage, its settings, the weights and the pixels, so nothing stale can ever be taken for
finished, and two digs that write the same part write the same numbers.
"""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archaeology.core.storage import atomic_path, sha256_of

Arrays = Mapping[str, np.ndarray]


@dataclass
class Parts:
    """The parts of one dig.

    Attributes:
        folder: Where they lie.
        computed: How many images each stage worked on in this run.
        reused: How many it found finished.
    """

    folder: Path
    computed: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)

    def get(
        self, stage: str, ingredients: tuple[str, ...], images: int, compute: Callable[[], Arrays]
    ) -> Arrays:
        """The part of `stage` made from these ingredients: read if it is there, else computed and kept.

        Args:
            stage: Its name; a folder.
            ingredients: Everything the result depends on, as text.
            images: How many images it covers, for the counts.
            compute: Makes the arrays.
        """
        path = self.folder / stage / f"{sha256_of(stage, *ingredients)[:32]}.npz"
        found = _read(path)
        if found is not None:
            self.reused[stage] = self.reused.get(stage, 0) + images
            return found
        arrays = {name: np.asarray(array) for name, array in compute().items()}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        self.computed[stage] = self.computed.get(stage, 0) + images
        return arrays


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays in `path`, or None where there is no whole file."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, ValueError, EOFError):
        path.unlink()  # a disk that lied about a finished write: do the work again
        return None
