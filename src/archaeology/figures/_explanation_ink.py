"""How a map lies over an image: the lower a value, the more of the grey image shines through."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from archaeology.figures._theme import COLOURS, DIVERGING, SEQUENTIAL, bare
from archaeology.figures.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap

LEVELS = 256
DARKEST, BRIGHTEST = 0.42, 0.97  # of the grey image, so that colours stand out from it
OPACITY, POWER = 0.92, 0.6  # of the largest value, and how it grows
MIDDLE = (DARKEST + BRIGHTEST) / 2
NO_EVIDENCE = "no positive evidence"
NOTES = (
    "Colours are raw values, each map on the scale below it; where they have signs, orange speaks for the class, "
    "purple against it. Any class: the map would be the same for another class.",
    "Marks are of this one image, higher is better, chance the mean of random maps; bold: above every random map. "
    "One image is an anecdote.",
)


@cache
def overlay(is_signed: bool) -> "ListedColormap":
    """Colours that grow opaque with the size of a value."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    place = np.linspace(0, 1, LEVELS)
    colours = mpl.colormaps[DIVERGING if is_signed else SEQUENTIAL](place)
    size = np.abs(2 * place - 1) if is_signed else place
    colours[:, 3] = OPACITY * size**POWER
    return ListedColormap(colours)


def draw_photo(axes: "Axes", photo: UInt8[np.ndarray, "height width channel"]) -> None:
    """The image in its colours."""
    axes.imshow(photo, interpolation="none", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)


def draw_map(
    axes: "Axes",
    bar: "Axes",
    grey: Float[np.ndarray, "height width"],
    values: Float[np.ndarray, "row column"],
    limit: float,
    is_signed: bool,
    is_clipped: bool,
) -> None:
    """A map over the image, with its colour bar; or the words that there is nothing to draw."""
    extent = (0.0, 1.0, 0.0, 1.0)
    pale = DARKEST + (BRIGHTEST - DARKEST) * grey
    axes.imshow(pale, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto", extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)
    if not values.size:
        bar.set_axis_off()
        box = {"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 4}
        axes.text(0.5, 0.5, NO_EVIDENCE, ha="center", va="center", fontsize=9, bbox=box)
        return
    low = -limit if is_signed else 0.0
    scale: dict[str, Any] = {
        "cmap": overlay(is_signed),
        "vmin": low,
        "vmax": limit,
        "interpolation": "none",
        "aspect": "auto",
    }
    axes.imshow(values, extent=extent, **scale)
    _draw_bar(bar, scale, low, limit, is_clipped)


def _draw_bar(bar: "Axes", scale: dict[str, Any], low: float, limit: float, is_clipped: bool) -> None:
    bar.imshow(np.full((1, 1), MIDDLE), cmap="gray", vmin=0, vmax=1, aspect="auto", extent=(low, limit, 0, 1))
    bar.imshow(np.linspace(low, limit, LEVELS)[None], extent=(low, limit, 0, 1), **scale)
    bar.set_yticks([])
    middle = (low + limit) / 2
    texts = [number(low, 2), number(middle, 2), number(limit, 2)]
    if is_clipped:
        texts[-1] = f"\N{GREATER-THAN OR EQUAL TO} {texts[-1]}"
        texts[0] = f"\N{LESS-THAN OR EQUAL TO} {texts[0]}" if low < 0 else texts[0]
    bar.set_xticks([low, middle, limit], texts)
    for label, side in zip(bar.get_xticklabels(), ("left", "center", "right"), strict=True):
        label.set_horizontalalignment(side)
        label.set_fontsize(7)
    bare(bar)
    bar.tick_params(pad=2)
