"""Everything timed and weighed, one number a row, on the disk as soon as it is known."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from archaeology.core.storage import read_table, write_table


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        subject: Key of the specimen with its sizes.
        batch: Images in one forward pass.
        quantity: "seconds" of a pass, or "mebibytes" needed beyond weights and images.
        repeat: Number of the round.
        value: The number.
    """

    subject: str
    batch: int
    quantity: str
    repeat: int
    value: float


class Measurements:
    """The rows of one run; `add` writes them down."""

    def __init__(self, path: Path) -> None:
        """Go on with what `path` holds, if it is there."""
        self.path = path
        self._rows = [Measurement(**row) for row in read_table(path).to_pylist()] if path.is_file() else []

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._rows)

    def add(self, rows: Iterable[Measurement]) -> None:
        """Keep these rows, on the disk too."""
        new = list(rows)
        if new:
            self._rows += new
            write_table(self.path, [asdict(row) for row in self._rows])

    def values(self, subject: str, batch: int, quantity: str) -> list[float]:
        """The numbers of every round, in order."""
        found = [
            (row.repeat, row.value)
            for row in self._rows
            if (row.subject, row.batch, row.quantity) == (subject, batch, quantity)
        ]
        return [value for _, value in sorted(found)]
