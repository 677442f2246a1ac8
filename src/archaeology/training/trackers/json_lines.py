"""One JSON object a line: the history that every other command reads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archaeology.core.storage import plain_json, write_text


class JsonLines:
    """Lines in a file, flushed one by one so that a killed run keeps its history."""

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        """Open the file, making its folder.

        Args:
            path: Usually `metrics.jsonl`.
            resume_step: Keep what the file holds up to this step and go on behind it; None starts anew.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = (
            [] if resume_step is None else [line for line in read_lines(path) if line["step"] <= resume_step]
        )
        write_text(path, "".join(_line(numbers) for numbers in kept))
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append one line."""
        self._file.write(_line({"step": step, **numbers}))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines that have a step, in order; none where there is no file.

    A line that is no JSON object (the last one of a killed run, cut off in the middle) is left out.
    """
    if not path.is_file():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append(line)
    return found


def _line(numbers: Mapping[str, Any]) -> str:
    return json.dumps(plain_json(numbers)) + "\n"
