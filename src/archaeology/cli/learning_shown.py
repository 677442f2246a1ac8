"""What commands about ways of learning do with what they found: draw it, keep it, print the table and what it shows."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from archaeology.cli.zoo import show_table
from archaeology.core.storage import json_text, write_json

if TYPE_CHECKING:
    from archaeology.dig.learning_result import LearningComparison
    from archaeology.figures.drawing import DataTable
    from archaeology.represent.zero_shot import ZeroShot


def show_learning(
    found: "LearningComparison | ZeroShot",
    figure: str,
    out: Path,
    document: str,
    *,
    as_json: bool,
    arranged: "Callable[[DataTable], DataTable] | None" = None,
) -> None:
    """Draw and keep; print the table and what it shows.

    Args:
        found: What there is to say.
        figure: Registered name of the figure.
        out: Folder for figure and numbers.
        document: Name of the JSON file.
        as_json: Print the document instead of the table.
        arranged: How the table is printed, if otherwise than drawn.
    """
    from archaeology.figures import learning_figures, save_figure

    drawing = learning_figures.get(figure)
    data = drawing.compute(found)
    assert data is not None
    files = [*save_figure(drawing.draw(data), out, figure), out / document]
    said = {"headline": drawing.headline(data), "files": files, **found.numbers()}
    write_json(files[-1], said)
    if as_json:
        print(json_text(said), end="")
        return
    table = drawing.table(data)
    print(f"{drawing.title} {drawing.headline(data)}\n")
    show_table(table if arranged is None else arranged(table))
    print("\n".join(found.findings))
    for note in found.notes:
        print(f"note: {note}")
    print("\n".join(str(path) for path in files))
