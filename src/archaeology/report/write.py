"""A finished run becomes a page, Markdown and a notebook beside its numbers, as often as one likes, always the same.

A page of up to 10 MB can be sent by mail; with more specimens it grows. Above 50 MB no browser opens it gladly: then
the page becomes a folder `report/` whose files of data are scripts, since a page on a disk may read nothing else.
"""

import shutil
import warnings
from pathlib import Path

from archaeology.core.storage import atomic_path, write_text
from archaeology.dig.directory import RunDirectory
from archaeology.report.content import Report, report_of
from archaeology.report.markdown import markdown
from archaeology.report.notebook import notebook
from archaeology.report.page import data_files, page

MEGABYTE = 1_000_000
USUAL = 10 * MEGABYTE
LARGE = 25 * MEGABYTE
LARGEST = 50 * MEGABYTE


class LargeReportWarning(UserWarning):
    """A report is so large that it is slow to open and to send."""


def write_report(run: Path, *, full: int | None = None) -> Path:
    """Write the report of a finished run into its folder: report.html, report.md and report.ipynb.

    Args:
        run: The run directory of a finished dig.
        full: How many specimens get all of their attention in the explorer; None for as many as fit into 10 MB.

    Returns:
        Path of `report.html`, or of `report/index.html` where one page would have more than 50 MB.

    Raises:
        FileNotFoundError: If there is no such folder, or a part of the run is missing.
        ValueError: If the dig has not finished, another schema version wrote it, or `full` is negative.
    """
    if full is not None and full < 0:
        raise ValueError(f"full must be 0 or more specimens, but got {full}.")
    directory = RunDirectory(run)
    report = report_of(directory, full=full, room=USUAL)
    text = page(report)
    size = len(text.encode())
    if report.specimens is not None and full is None and size > USUAL:
        report = report_of(directory, full=None, room=max(0, USUAL - (size - report.specimens.size)))
        text = page(report)
        size = len(text.encode())
    write_text(directory.path / "report.md", markdown(report))
    write_text(directory.path / "report.ipynb", notebook(report))
    if size > LARGEST and report.specimens is not None:
        return _write_folder(directory.path, report)
    if size > LARGE:
        warnings.warn(
            f"The report has {size / MEGABYTE:.0f} MB, which is slow to open and to send; with a smaller --full it has "
            "less.",
            LargeReportWarning,
            stacklevel=2,
        )
    shutil.rmtree(directory.path / "report", ignore_errors=True)
    path = directory.path / "report.html"
    write_text(path, text)
    return path


def _write_folder(run: Path, report: Report) -> Path:
    """The page as a folder: index.html, and one script of data for each specimen."""
    with atomic_path(run / "report") as folder:
        folder.mkdir()
        write_text(folder / "index.html", page(report, is_folder=True))
        for name, text in data_files(report):
            write_text(folder / name, text)
    (run / "report.html").unlink(missing_ok=True)
    return run / "report" / "index.html"
