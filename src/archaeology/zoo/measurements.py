"""Everything measured, one number a row, on the disk as soon as it is known."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from archaeology.core.storage import read_table, write_table


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        mechanism: Its name.
        length: Tokens.
        quantity: "seconds" of one step, "mebibytes" needed beyond the inputs, or "relative error" of the answer.
        step: "forward" or "forward+backward".
        input: For errors, "random" or "structured", or "" else.
        score_std: For errors, standard deviation of the scores; else 0.
        repeat: Number of the round, or of the input drawn.
        head: For errors, which; else -1.
        value: The number.
    """

    mechanism: str
    length: int
    quantity: str
    step: str
    input: str
    score_std: float
    repeat: int
    head: int
    value: float


class Measurements:
    """The rows of one run; `add` writes them down."""

    def __init__(self, path: Path) -> None:
        """Go on with what `path` holds, if it is there."""
        self.path = path
        self._rows = [Measurement(**row) for row in read_table(path).to_pylist()] if path.is_file() else []
        self._keys = {_key(row) for row in self._rows}

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._rows)

    def has(
        self, mechanism: str, length: int, quantity: str, repeat: int, kind: str = "", std: float = 0.0
    ) -> bool:
        """Whether it was measured before."""
        return (mechanism, length, quantity, repeat, kind, std) in self._keys

    def add(self, rows: Iterable[Measurement]) -> None:
        """Keep these rows, on the disk too."""
        new = list(rows)
        if new:
            self._rows += new
            self._keys |= {_key(row) for row in new}
            write_table(self.path, [asdict(row) for row in self._rows])

    def values(self, mechanism: str, length: int, quantity: str, step: str) -> list[float]:
        """The numbers of every round, in order."""
        found = [
            (row.repeat, row.value)
            for row in self._rows
            if (row.mechanism, row.length, row.quantity, row.step) == (mechanism, length, quantity, step)
        ]
        return [value for _, value in sorted(found)]


def _key(row: Measurement) -> tuple[str, int, str, int, str, float]:
    return row.mechanism, row.length, row.quantity, row.repeat, row.input, row.score_std


def time_row(mechanism: str, length: int, step: str, turn: int, seconds: float) -> Measurement:
    """How long one step took."""
    return Measurement(mechanism, length, "seconds", step, "", 0.0, turn, -1, seconds)


def memory_row(mechanism: str, length: int, step: str, turn: int, mebibytes: float) -> Measurement:
    """How much memory one step needed beyond its inputs."""
    return Measurement(mechanism, length, "mebibytes", step, "", 0.0, turn, -1, mebibytes)


def error_row(
    mechanism: str, length: int, kind: str, score_std: float, draw: int, head: int, error: float
) -> Measurement:
    """How far the answer of one head was from that of exact attention, relative to its length."""
    return Measurement(mechanism, length, "relative error", "forward", kind, score_std, draw, head, error)
