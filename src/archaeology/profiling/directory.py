"""A measured profile is a folder that anyone can open again; this file only reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archaeology.core.storage import read_json
from archaeology.profiling.config import ProfileConfig

SCHEMA_VERSION = 1
DOCUMENT, TABLE = "profile.json", "measurements.parquet"


@dataclass(frozen=True)
class Cost:
    """What one batch size costs.

    Attributes:
        batch: Images in one forward pass.
        milliseconds: Median over the rounds.
        low: Tenth percentile over the rounds, in milliseconds.
        high: Ninetieth percentile, likewise.
        images_per_second: Batch over median time.
        mebibytes: Peak memory beyond weights and images; None where it was not measured.
        rounds: How many times are behind it.
    """

    batch: int
    milliseconds: float
    low: float
    high: float
    images_per_second: float
    mebibytes: float | None
    rounds: int


@dataclass(frozen=True)
class Profile:
    """One specimen at one image size.

    Attributes:
        name: Short, and its own among those of the run.
        spec: As the user wrote it.
        kind: "transformer", "convolutional" or "other".
        image_size: Height and width in pixels.
        patch_size: Side that was asked for by `--patch-sizes`; None for the specimen's own.
        tokens: Where every layer sees them all; None for windows, pyramids and CNNs.
        parameters: Numbers that were trained, or would be.
        weight_mebibytes: What they take.
        flops: Of one image, 2 a multiply-add.
        pair_flops: Those of products between tokens.
        formula_flops: By the closed formula of a plain ViT; None for others.
        costs: By batch size, growing; without those that were skipped.
    """

    name: str
    spec: str
    kind: str
    image_size: tuple[int, int]
    patch_size: int | None
    tokens: int | None
    parameters: int
    weight_mebibytes: float
    flops: int
    pair_flops: int
    formula_flops: int | None
    costs: tuple[Cost, ...]

    def cost(self, batch: int) -> Cost | None:
        """That of one batch size; None where it was skipped."""
        return next((cost for cost in self.costs if cost.batch == batch), None)


class ProfileRun:
    """A complete measurement.

    Attributes:
        path: The folder.
        run: `profile.json`: configuration, profiles, what was skipped and why, where it was measured.
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
                f"A run must be the folder that `archaeology profile` wrote, but there is no folder {path}."
            )
        if not (self.path / DOCUMENT).is_file():
            raise ValueError(
                f"A run must be complete, but {path} holds no {DOCUMENT}, which is written last; start the same "
                "`archaeology profile` command again: it goes on where it stopped."
            )
        self.run: dict[str, Any] = read_json(self.path / DOCUMENT)
        if self.run.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"This version of archaeology reads profiles of schema version {SCHEMA_VERSION}, but {path} has "
                f"{self.run.get('schema_version')!r}; measure again, or install the version that wrote it."
            )
        self.config = ProfileConfig.model_validate(self.run["config"])
        self.profiles = [_profile(entry) for entry in self.run["profiles"]]

    @property
    def setting(self) -> str:
        """Device, threads, precision and clock, in words."""
        config = self.config
        threads = f"{config.threads} thread{'s' * (config.threads > 1)}"
        where = threads if self.run["device"] == "cpu" else self.run["device"]
        return f"{self.run['machine']}, {where}, {config.dtype}, {config.clock} time"

    def __repr__(self) -> str:
        return f"ProfileRun({str(self.path)!r})"


def _profile(entry: dict[str, Any]) -> Profile:
    height, width = entry["image_size"]
    costs = tuple(Cost(**cost) for cost in entry["costs"])
    return Profile(**{**entry, "image_size": (height, width), "costs": costs})
