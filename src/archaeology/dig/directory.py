"""A finished dig is a folder that anyone can open again, later and elsewhere; this class only reads it."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archaeology.core.storage import read_arrays, read_json, read_table

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1


class RunDirectory:
    """A complete run directory; each part is read when it is first asked for.

    Attributes:
        path: The folder.
        run: `run.json`: provenance, configuration, models, data, seconds.
    """

    def __init__(self, path: Path | str) -> None:
        """Open the run in the folder `path`.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If the dig has not finished, or another schema version wrote it.
        """
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"A run must be the folder that a dig wrote, but there is no folder {self.path}; "
                "check the path, or make one with `archaeology dig --out FOLDER`."
            )
        if not (self.path / "run.json").is_file():
            raise ValueError(
                f"A run must be complete, but {self.path} holds no run.json, which a dig writes last; "
                "start the same `archaeology dig` command again: it goes on where it stopped."
            )
        self.run: dict[str, Any] = read_json(self.path / "run.json")
        self._check_run()

    def _check_run(self) -> None:
        version = self.run.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"This version of archaeology reads runs of schema version {SCHEMA_VERSION}, but {self.path} "
                f"has {version!r}; dig again, or install the version that wrote it."
            )
        status = self.run.get("status")
        if status != "complete":
            raise ValueError(
                f"A run must be complete, but the status in {self.path / 'run.json'} is {status!r}; "
                "start the same `archaeology dig` command again: it goes on where it stopped."
            )

    @cached_property
    def results(self) -> dict[str, Any]:
        """`results.json`: accuracies or agreement, McNemar's test, failure types, findings."""
        return read_json(self._part("results.json"))

    @cached_property
    def images(self) -> "pa.Table":
        """`images.parquet`: one row per image with its label and both predictions."""
        return read_table(self._part("images.parquet"))

    @cached_property
    def has_truth(self) -> bool:
        """Whether the ViT's answers can be right or wrong; if not, ablation compares them with those it gave whole."""
        return any(right is not None for right in self.images.column("vit_correct").to_pylist())

    @cached_property
    def heads(self) -> "pa.Table":
        """`heads.parquet`: one row per attention head with its statistics and ablation effects."""
        return read_table(self._part("heads.parquet"))

    @cached_property
    def explanations(self) -> "pa.Table | None":
        """`explanations.parquet`: methods of explanation by judge, for both models; None where none were judged."""
        return self._optional("explanations.parquet")

    @cached_property
    def layers(self) -> "pa.Table | None":
        """`layers.parquet`: what each attention layer and MLP is worth; None where that was not measured."""
        return self._optional("layers.parquet")

    @cached_property
    def pruning(self) -> "pa.Table | None":
        """`pruning.parquet`: accuracy as heads go, in several orders; None where that was not measured."""
        return self._optional("pruning.parquet")

    @cached_property
    def robustness(self) -> Mapping[str, Any] | None:
        """`robustness.json`: what breaks the models (`robustness/survey.py`); None where that was not measured."""
        return self._document("robustness.json")

    @cached_property
    def causes(self) -> Mapping[str, Any] | None:
        """`causes.json`: what failures have in common (`failures/causes.py`); None where that was not asked."""
        return self._document("causes.json")

    @cached_property
    def representation(self) -> Mapping[str, Any] | None:
        """`representation.json`: what the layers know (`represent/survey.py`); None where that was not measured.

        Older runs list norms of tokens without saying which models have none; they are read as newer ones are.
        """
        found = self._document("representation.json")
        if found and isinstance(found.get("outliers"), list):
            return {**found, "outliers": {"models": found["outliers"], "missing": {}}}
        return found

    @cached_property
    def dissection(self) -> Mapping[str, Any] | None:
        """`dissection.json`: kinds of failure, slices, attention, mending, calibration; None where not measured."""
        return self._document("dissection.json")

    @cached_property
    def dissected(self) -> Any:
        """`dissection.zarr`: pixels and maps of the images that `dissection.json` names; None where there is none."""
        path = self.path / "dissection.zarr"
        return read_arrays(path) if path.exists() else None

    @cached_property
    def metrics(self) -> "pa.Table":
        """`metrics.parquet`: every number of the run in long form."""
        return read_table(self._part("metrics.parquet"))

    @cached_property
    def specimens(self) -> Any:
        """`specimens.zarr`: pixels, attention and heat maps of the images shown; arrays load when sliced."""
        return read_arrays(self._part("specimens.zarr"))

    def _optional(self, name: str) -> "pa.Table | None":
        return read_table(self.path / name) if (self.path / name).exists() else None

    def _document(self, name: str) -> Mapping[str, Any] | None:
        return read_json(self.path / name) if (self.path / name).exists() else None

    def _part(self, name: str) -> Path:
        part = self.path / name
        if not part.exists():
            raise FileNotFoundError(
                f"A complete run must hold {name}, but {self.path} does not; restore it or dig again."
            )
        return part

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"
