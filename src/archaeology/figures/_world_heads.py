"""Which model's heads are looked into, what they are called, and one coloured cell with its number for each."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from archaeology.ablate.head_map import Layer
from archaeology.figures._theme import COLOURS, bare
from archaeology.figures._world_ink import MARK
from archaeology.figures._world_source import SCORES, WorldRun, WorldSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARCHITECTURES = {"shapes1d": "attention1d", "shapes2d": "encoder_decoder"}
CELL, ROW, HIGH_ROW = 0.56, 0.32, 0.5  # inches of a head, of a layer, of one of few layers
DARK = 0.55  # cells of less luminance carry light numbers


@dataclass(frozen=True)
class LayerName:
    """What a layer is called.

    Attributes:
        short: Beside a row: "decoder 1 cross".
        words: In a sentence: "the cross-attention of decoder layer 1".
    """

    short: str
    words: str


def layer_name(layer: Layer) -> LayerName:
    """From its dotted path."""
    stem, *rest = layer.module.split(".")
    place = next((int(part) + 1 for part in rest if part.isdigit()), 1)
    if stem == "blocks":
        return LayerName(f"layer {place}", f"layer {place}")
    if stem != "decoder":
        return LayerName(f"{stem} {place}", f"{stem} layer {place}")
    way = "cross" if layer.kind == "cross" else "self"
    return LayerName(f"{stem} {place} {way}", f"the {way}-attention of {stem} layer {place}")


def run_with_heads(source: WorldSource, world: str) -> WorldRun | None:
    """The best run whose attention is among the patches, of the plain recipes where there are any; else None.

    One with both an encoder and a decoder goes before one that lacks either. Variants of the mechanism never count.
    """
    runs = [
        run
        for run in source.of(world, (ARCHITECTURES[world],))
        if not run.recipe.startswith(f"{world}_mechanism_")
    ]
    plain = [run for run in runs if not run.recipe.startswith(f"{world}_positions_")] or runs

    def error(run: WorldRun) -> float:
        score = run.score(SCORES[world])
        return math.inf if math.isnan(score) else score

    ranked = sorted(plain, key=error)
    return next((run for run in ranked if _is_whole(run.model)), ranked[0] if ranked else None)


def _is_whole(model: object) -> bool:
    return all(len(getattr(model, half, "x")) > 0 for half in ("encoder", "decoder"))


def patch_size_of(run: WorldRun) -> int:
    """Samples of a token, or the side of its square patch."""
    return int(getattr(run.model, "patch_size"))  # noqa: B009, modules do not say their attributes' types


def heads_size(value: Float[np.ndarray, "layer head"]) -> tuple[float, float]:
    """Inches, across and down, of the cells of `draw_heads`."""
    return CELL * value.shape[1], (HIGH_ROW if len(value) <= 3 else ROW) * len(value)


def draw_heads(
    axes: "Axes",
    value: Float[np.ndarray, "layer head"],
    written: list[list[str]],
    scale: tuple[str, float, float],
    marked: tuple[int, int] | None,
) -> None:
    """One cell for each head, layers going down, with its number written in; one of them framed.

    Args:
        axes: Where they go.
        value: Makes the colour; NaN stays empty.
        written: The numbers as text, layer by layer.
        scale: Colour map, and the values at its ends.
        marked: Layer and head of the frame.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    colour_map, low, high = scale
    axes.imshow(value, cmap=colour_map, vmin=low, vmax=high, aspect="auto", interpolation="none")
    shares = np.clip((value - low) / (high - low), 0, 1)
    for layer, head in np.argwhere(np.isfinite(value)).tolist():
        red, green, blue, _ = colormaps[colour_map](shares[layer, head])
        is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < DARK
        colour = COLOURS["paper" if is_dark else "ink"]
        axes.text(head, layer, written[layer][head], ha="center", va="center", fontsize=8, color=colour)
    if marked is not None:
        layer, head = marked
        frame = Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=MARK, linewidth=2.2)
        frame.set_clip_on(False)
        axes.add_patch(frame)
    axes.set_xticks(range(value.shape[1]), [str(head + 1) for head in range(value.shape[1])])
    axes.set_yticks([])
    bare(axes)
    axes.set_xlabel("head", labelpad=1)


def name_layers(axes: "Axes", names: list[str]) -> None:
    """Write the layers' names at the left of the cells."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=8.5, labelcolor=COLOURS["ink"])
