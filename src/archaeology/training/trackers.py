"""Where a training writes its numbers: JSON lines always, TensorBoard when asked, nothing over the network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from archaeology.core.errors import MissingExtraError
from archaeology.core.storage import plain_json


@runtime_checkable
class Tracker(Protocol):
    """Takes numbers as they come."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Record `numbers` at `step`."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


class JsonLines:
    """One JSON object a line in `metrics.jsonl`, flushed at once so that a killed run keeps its history."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append one line."""
        self._file.write(json.dumps(plain_json({"step": step, **numbers})) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Scalars for TensorBoard, which only reads files."""

    def __init__(self, folder: Path) -> None:
        """Raises: `MissingExtraError` where tensorboard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "track", "--tensorboard") from error
        self._writer = SummaryWriter(str(folder))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write every number as a scalar."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def open_trackers(folder: Path, *, tensorboard: bool) -> list[Tracker]:
    """`metrics.jsonl` in `folder`, and TensorBoard files beside it where asked.

    Raises:
        MissingExtraError: If tensorboard is asked for and not installed.
    """
    beside: list[Tracker] = [TensorBoard(folder / "tensorboard")] if tensorboard else []
    return [JsonLines(folder / "metrics.jsonl"), *beside]
