"""Trackio, locally: its own database of runs on this machine, which `trackio show` draws.

The database lies where trackio keeps all its runs (`TRACKIO_DIR`), so that runs of a recipe are drawn together.
"""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout

from archaeology.training.trackers.tracker import Tracked, package_for, trackers


@trackers.register("trackio")
class Trackio:
    """One run of a project called like the recipe; a process has one at a time."""

    def __init__(self, run: Tracked) -> None:
        """Raises: `MissingExtraError` where trackio is not installed."""
        self._trackio = package_for("trackio", "trackio")
        with redirect_stdout(sys.stderr):  # stdout is for results
            self._run = self._trackio.init(
                project=run.project,
                name=run.folder.name,
                config=run.settings(),
                resume="never" if run.resume_step is None else "allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers to the run."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Write what is left."""
        with redirect_stdout(sys.stderr):
            self._trackio.finish()
