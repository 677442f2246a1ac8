"""A figure as files of its own, for a talk or a paper: PNG and SVG, on paper and not transparent."""

from pathlib import Path
from typing import TYPE_CHECKING

from archaeology.core.storage import atomic_path
from archaeology.figures._theme import COLOURS, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200


def save_figure(figure: "Figure", folder: Path, name: str) -> tuple[Path, Path]:
    """Write `name.png` and `name.svg` into `folder`, each in one go, and say where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}.png", folder / f"{name}.svg"
    for path in paths:
        with themed(name), atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=DOTS_PER_INCH, facecolor=COLOURS["paper"])
    return paths
