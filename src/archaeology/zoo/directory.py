"""A measured zoo is a folder that anyone can open again; this class only reads it."""

from functools import cached_property
from pathlib import Path
from typing import Any

from archaeology.core.storage import read_json
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.measurements import Measurements
from archaeology.zoo.summary import Summary, summarise

SCHEMA_VERSION = 1
TABLE = "measurements.parquet"


class ZooRun:
    """A complete measurement.

    Attributes:
        path: The folder.
        run: `run.json`: configuration, provenance, names measured, what was skipped and why.
    """

    def __init__(self, path: Path | str) -> None:
        """Open the run in the folder `path`.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it holds no finished measurement, or one of another schema version.
        """
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"A run must be the folder that `archaeology zoo --measure` wrote, but there is no folder {path}."
            )
        if not (self.path / "run.json").is_file():
            raise ValueError(
                f"A run must be complete, but {path} holds no run.json, which is written last; start the same "
                "`archaeology zoo --measure` command again: it goes on where it stopped."
            )
        self.run: dict[str, Any] = read_json(self.path / "run.json")
        if self.run.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"This version of archaeology reads measurements of schema version {SCHEMA_VERSION}, but {path} has "
                f"{self.run.get('schema_version')!r}; measure again, or install the version that wrote it."
            )

    @cached_property
    def config(self) -> ZooConfig:
        """What was asked for."""
        return ZooConfig.model_validate(self.run["config"])

    @property
    def names(self) -> list[str]:
        """The mechanisms measured, dense attention first."""
        return self.run["mechanisms"]

    @cached_property
    def measurements(self) -> Measurements:
        """Every number."""
        return Measurements(self.path / TABLE)

    @cached_property
    def summary(self) -> Summary:
        """Medians, exponents, crossovers, errors."""
        return summarise(self.measurements, self.names, list(self.config.lengths))

    def __repr__(self) -> str:
        return f"ZooRun({str(self.path)!r})"
