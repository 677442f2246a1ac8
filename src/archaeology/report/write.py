"""A finished run becomes `report.html` and `report.md` beside its numbers, as often as one likes, always the same."""

from pathlib import Path

from archaeology.core.storage import write_text
from archaeology.dig.directory import RunDirectory
from archaeology.report.content import report_of
from archaeology.report.markdown import markdown
from archaeology.report.page import page


def write_report(run: Path) -> Path:
    """Write the report of a finished run into its folder.

    Args:
        run: The run directory of a finished dig.

    Returns:
        Path of `report.html`; `report.md` lies beside it.

    Raises:
        FileNotFoundError: If there is no such folder, or a part of the run is missing.
        ValueError: If the dig has not finished, or another schema version wrote it.
    """
    directory = RunDirectory(run)
    report = report_of(directory)
    write_text(directory.path / "report.md", markdown(report))
    path = directory.path / "report.html"
    write_text(path, page(report))
    return path
