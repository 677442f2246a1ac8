"""A figure as a file of its own, for a talk or a paper: on paper and not transparent, and the same bytes every time."""

from pathlib import Path
from typing import TYPE_CHECKING

from archaeology.core.storage import atomic_path
from archaeology.figures._theme import COLOURS, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200
SILENT = {  # formats, and what would make each file differ from the last
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save_figure(figure: "Figure", folder: Path, name: str) -> tuple[Path, Path]:
    """Write `name.png` and `name.svg` into `folder`, each in one go, and say where they are."""
    return save_as(figure, folder / f"{name}.png", name), save_as(figure, folder / f"{name}.svg", name)


def save_as(figure: "Figure", path: Path, name: str) -> Path:
    """Write the figure drawn inside `themed(name)` to `path`, in the format that it ends in, and say where it is.

    Raises:
        ValueError: If that is no format we know.
    """
    check_format(path)
    with themed(name), atomic_path(path) as temporary:
        figure.savefig(
            temporary,
            format=path.suffix[1:],
            dpi=DOTS_PER_INCH,
            facecolor=COLOURS["paper"],
            metadata=SILENT[path.suffix],
        )
    return path


def check_format(path: Path) -> None:
    """Raise unless a figure can be written to `path`.

    Raises:
        ValueError: If its name ends in nothing we know.
    """
    if path.suffix not in SILENT:
        raise ValueError(f"A figure must be a file that ends in {', '.join(SILENT)}, but got {str(path)!r}.")
