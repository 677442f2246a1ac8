"""From an image to what a transformer reads: patches, a row of tokens, and the features of their places."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import nn

from archaeology.attention.positions import GridPositions
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.figures._theme import COLOURS, DIVERGING, bare, colour_bar, new_figure, place, themed
from archaeology.figures._world_ink import MARK, headline_height, title, write_at, write_headline
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import fixed
from archaeology.figures.world_shapes2d import sample_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PATCH_SIZE, EMBED_DIM = 16, 128
SEED = 0


@dataclass(frozen=True)
class Tokens:
    """One image on its way into an encoder.

    Attributes:
        image: RGB in [0, 1].
        patches: The image cut up, row by row.
        embedded: Every patch times one matrix.
        places: Features of every place.
        grid: Rows and columns of the patches.
        followed: Number of the patch that is marked.
    """

    image: Float[np.ndarray, "height width 3"]
    patches: Float[np.ndarray, "token patch_height patch_width 3"]
    embedded: Float[np.ndarray, "token embed"]
    places: Float[np.ndarray, "token embed"]
    grid: tuple[int, int]
    followed: int


def compute(source: WorldSource) -> Tokens:
    """The patches and tokens of the source's sample; weights are fresh, so no run is needed.

    Raises:
        ValueError: If the source follows a patch that there is not.
    """
    batch = Shapes2D().generate(sample_of(source), 1)
    images, _ = batch.pair()
    patches = rearrange(images[0], "c (row h) (column w) -> (row column) h w c", h=PATCH_SIZE, w=PATCH_SIZE)
    side = images.shape[-1] // PATCH_SIZE
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        embedded = nn.Linear(patches[0].numel(), EMBED_DIM)(patches.flatten(1))
        places = GridPositions("sinusoidal", side, side, EMBED_DIM).features()[0]
    followed = int(patches.flatten(1).std(dim=1).argmax()) if source.patch is None else source.patch
    if not 0 <= followed < len(patches):
        raise ValueError(f"patch must be 0 to {len(patches) - 1}, but got {followed}.")
    return Tokens(
        image=images[0].movedim(0, -1).double().numpy(),
        patches=patches.double().numpy(),
        embedded=embedded.double().numpy(),
        places=places.double().numpy(),
        grid=(side, side),
        followed=followed,
    )


def headline(data: Tokens) -> str:
    """How many tokens of how many features."""
    rows, columns = data.grid
    side = data.patches.shape[1]
    return (
        f"An image becomes a row of {rows * columns} tokens: {rows} x {columns} patches of {side} x {side} pixels, "
        f"each turned into {data.embedded.shape[1]} numbers, plus as many that say where it was."
    )


WIDE, LEFT, SIDE, BAND = 9.9, 1.5, 2.5, 0.85


def draw(data: Tokens) -> "Figure":
    """Image and patches above; below, under one another, the row of patches and the features of each token."""
    said = headline(data)
    width = LEFT + WIDE + 0.25
    top = headline_height(width, said) + 0.4
    below = top + SIDE + 0.4
    with themed("world_tokens"):
        figure = new_figure(width, below + 0.35 + 3 * (BAND + 0.3) + 0.75)
        write_headline(figure, said)
        _image(place(figure, LEFT, top, SIDE, SIDE), data)
        _apart(place(figure, LEFT + SIDE + 1.0, top, SIDE, SIDE), data)
        write_at(figure, LEFT + SIDE + 0.35, top + SIDE / 2 - 0.15, "\N{RIGHTWARDS ARROW}", size=18.0)
        _words(figure, data, LEFT + 2 * SIDE + 1.35, top)
        _strip(place(figure, LEFT, below, WIDE, WIDE / len(data.patches) + 0.03), data)
        _beside(figure, below, "row of patches")
        limit = float(
            max(np.abs(part).max() for part in (data.embedded, data.places, data.embedded + data.places))
        )
        rows = (
            ("what it shows:\npatch x matrix", data.embedded, ""),
            ("where it was:\nposition", data.places, "+"),
            ("token that enters\nthe encoder", data.embedded + data.places, "="),
        )
        for number, (words, features, sign) in enumerate(rows):
            at = below + 0.35 + number * (BAND + 0.3)
            axes = place(figure, LEFT, at, WIDE, BAND)
            _features(axes, features, limit, data.followed)
            _beside(figure, at + BAND / 2 - 0.15, words)
            write_at(figure, LEFT - 0.2, at - 0.26, sign, size=13.0, weight="bold")
        axes.set_xlabel("token", labelpad=1)
        axes.set_xticks(
            [0, *range(7, len(data.patches), 8)], ["1", *map(str, range(8, len(data.patches) + 1, 8))]
        )
        bar = place(figure, LEFT, below + 0.35 + 3 * (BAND + 0.3) + 0.22, 2.5, 0.09)
        colour_bar(bar, DIVERGING, -limit, limit, "feature (no unit)")
    return figure


def _beside(figure: "Figure", top: float, words: str) -> None:
    write_at(figure, 0.12, top, words)


def _words(figure: "Figure", data: Tokens, left: float, top: float) -> None:
    place_of = divmod(data.followed, data.grid[1])
    steps = (
        "1  cut the image into patches",
        "2  lay them out in a row, line by line",
        "3  turn each patch into a token: its pixels\n    times one matrix, the same for all",
        "4  add what its place is called, or nobody\n    would know the order of the row",
    )
    for number, words in enumerate(steps):
        write_at(figure, left, top + 0.1 + 0.4 * number, words, size=9.0)
    row, column = place_of[0] + 1, place_of[1] + 1
    marked = f"pink: patch {data.followed + 1}, row {row}, column {column}, all the way"
    write_at(figure, left, top + 1.95, marked, size=9.0, colour=MARK, weight="bold")
    write_at(figure, left, top + 2.25, "the matrix is not trained yet", size=7.5, colour="muted")


def _image(axes: "Axes", data: Tokens) -> None:
    from matplotlib.patches import Rectangle

    height, width = data.image.shape[:2]
    rows, columns = data.grid
    axes.imshow(data.image, extent=(0, width, height, 0), interpolation="nearest")
    for number in range(1, rows):
        axes.axhline(number * height / rows, color=COLOURS["muted"], linewidth=0.6)
    for number in range(1, columns):
        axes.axvline(number * width / columns, color=COLOURS["muted"], linewidth=0.6)
    row, column = divmod(data.followed, columns)
    box = (column * width / columns, row * height / rows), width / columns, height / rows
    axes.add_patch(Rectangle(*box, fill=False, edgecolor=MARK, linewidth=2))
    _empty(axes)
    title(axes, "image")


def _apart(axes: "Axes", data: Tokens) -> None:
    """The patches with room between them."""
    from matplotlib.patches import Rectangle

    rows, columns = data.grid
    for number, patch in enumerate(data.patches):
        row, column = divmod(number, columns)
        axes.imshow(patch, extent=(column, column + 0.82, row + 0.82, row), interpolation="nearest")
    row, column = divmod(data.followed, columns)
    axes.add_patch(Rectangle((column, row), 0.82, 0.82, fill=False, edgecolor=MARK, linewidth=2))
    axes.set_xlim(-0.05, columns - 0.13)
    axes.set_ylim(rows - 0.13, -0.05)
    axes.set_aspect("auto")
    _empty(axes)
    bare(axes)
    title(axes, "patches")


def _strip(axes: "Axes", data: Tokens) -> None:
    """All patches side by side."""
    from matplotlib.patches import Rectangle

    count = len(data.patches)
    side = data.patches.shape[1]
    gap = max(1, side // 8)
    strip = np.ones((side, count * (side + gap), 3))
    for number, patch in enumerate(data.patches):
        start = number * (side + gap)
        strip[:, start : start + side] = patch
    axes.imshow(strip, extent=(-0.5, count - 0.5, 1, 0), interpolation="nearest", aspect="auto")
    box = Rectangle((data.followed - 0.5, 0), 1, 1, fill=False, edgecolor=MARK, linewidth=1.8, clip_on=False)
    axes.add_patch(box)
    _empty(axes)
    bare(axes)


def _features(axes: "Axes", features: Float[np.ndarray, "token embed"], limit: float, followed: int) -> None:
    from matplotlib.patches import Rectangle

    count, embed = features.shape
    axes.imshow(
        features.T,
        cmap=DIVERGING,
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="none",
        extent=(-0.5, count - 0.5, embed, 0),
    )
    box = Rectangle((followed - 0.5, 0), 1, embed, fill=False, edgecolor=MARK, linewidth=1.8, clip_on=False)
    axes.add_patch(box)
    _empty(axes)
    bare(axes)


def _empty(axes: "Axes") -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def table(data: Tokens) -> DataTable:
    """How large the features are, patch by patch."""
    size = (f"{len(data.patches)} x {data.embedded.shape[1]}",)
    rows = (
        ("patches", f"{len(data.patches)} x {data.patches[0].size}", _range(data.patches)),
        ("what they show", *size, _range(data.embedded)),
        ("where they were", *size, _range(data.places)),
        ("tokens", *size, _range(data.embedded + data.places)),
    )
    return DataTable(("What", "Numbers", "Range"), rows)


def _range(numbers: np.ndarray) -> str:
    return f"{fixed(float(numbers.min()), 2)} to {fixed(float(numbers.max()), 2)}"


world_tokens = world_figures.register("world_tokens")(
    Drawing(
        name="world_tokens",
        title="How does an image become tokens?",
        explanation="A transformer reads a row of tokens: every patch of the image becomes one, and features of its "
        "place are added to it.",
        definition="A held-out sample of shapes2d. What a patch shows: its pixels in [0, 1] times a matrix with fresh "
        "weights, plus a bias; where it was: sinusoidal features of row and column. All three bands have the same "
        "colours.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
