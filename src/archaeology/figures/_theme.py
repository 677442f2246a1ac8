"""One look for every figure: a few named colours, quiet axes, sizes in inches so that nothing is cut off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

# Each colour has a code of its own, so that `svg.py` can give it back its name and a page can redefine it.
COLOURS = {
    "ink": "#22262b",
    "muted": "#5c6570",
    "line": "#c9ced4",
    "faint": "#e8eaed",
    "paper": "#fefefd",
    "vit": "#2b6a99",
    "cnn": "#b0561a",
    "vit-soft": "#a9c8de",
    "cnn-soft": "#e6bd9d",
    "third": "#86469c",
    "fourth": "#7f6a13",
    "fifth": "#b4336a",
    "right": "#1f6b46",
    "wrong": "#a3212f",
}
SEQUENTIAL = "viridis"
DIVERGING = "PuOr_r"


@contextmanager
def themed(name: str) -> Iterator[None]:
    """Matplotlib settings for figure `name`; the name salts the identifiers."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8.5,
        "text.color": COLOURS["ink"],
        "axes.edgecolor": COLOURS["line"],
        "axes.labelcolor": COLOURS["muted"],
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": COLOURS["faint"],
        "grid.linewidth": 0.8,
        "xtick.color": COLOURS["line"],
        "ytick.color": COLOURS["line"],
        "xtick.labelcolor": COLOURS["muted"],
        "ytick.labelcolor": COLOURS["muted"],
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches, outside pyplot so that nothing global is touched."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def place(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Axes whose box is given in inches from the figure's top left corner."""
    whole_width, whole_height = figure.get_size_inches()
    below = whole_height - top - height
    return figure.add_axes(
        (left / whole_width, below / whole_height, width / whole_width, height / whole_height)
    )


def bare(axes: "Axes") -> None:
    """Take away the frame and tick marks of `axes`; labels stay."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(left=False, bottom=False)


def colour_bar(axes: "Axes", colour_map: str, low: float, high: float, label: str) -> None:
    """Fill `axes` with a horizontal colour bar from `low` to `high`; one picture instead of 256 shapes."""
    ramp: Float[np.ndarray, "1 256"] = np.linspace(low, high, 256)[None]
    axes.imshow(
        ramp, cmap=colour_map, aspect="auto", extent=(low, high, 0, 1), interpolation="none", clip_on=False
    )
    axes.set_yticks([])
    axes.xaxis.set_major_locator(round_ticks())
    bare(axes)
    axes.tick_params(pad=2)
    axes.set_xlabel(label, labelpad=2)


def dots(
    axes: "Axes",
    x: Real[np.ndarray, " dot"],
    y: Real[np.ndarray, " dot"],
    *,
    size: float,
    fill: str,
    edge: str | None = None,
    edge_width: float = 1.0,
) -> None:
    """Any number of round dots as one shape, or two with an edge: a page of many figures must stay light.

    A dot is a line too short to see, with round ends. Limits of `axes` must already cover the dots.

    Args:
        axes: Where to draw.
        x: Places in data coordinates.
        y: Likewise.
        size: Diameter in points, without the edge.
        fill: Colour.
        edge: Colour of the rim, if there is one.
        edge_width: Of the rim, in points.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if len(x) == 0:
        return
    low, high = axes.get_xlim()
    ends = np.stack([np.stack([x, x + 1e-4 * (high - low)], axis=1), np.stack([y, y], axis=1)], axis=2)
    for width, colour in ((size + edge_width, edge), (size - edge_width if edge else size, fill)):
        if colour is None:
            continue
        path = Path(ends.reshape(-1, 2), [Path.MOVETO, Path.LINETO] * len(x))
        path.should_simplify = False
        patch = PathPatch(path, fill=False, edgecolor=colour, linewidth=width, capstyle="round", zorder=3)
        patch.set_clip_on(False)
        patch.set_snap(False)  # to whole pixels, which would leave nothing of so short a line
        axes.add_artist(patch)
        patch.set_transform(axes.transData)


def round_ticks(most: int = 4) -> "MaxNLocator":
    """At most `most` intervals between ticks at round numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, steps=[1, 2, 5, 10])
