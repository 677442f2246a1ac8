"""Where one patch of the answer looks: its cross-attention in every layer and head, over the image it is made from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from archaeology.data.worlds.membership import token_membership
from archaeology.data.worlds.shapes2d import Shapes2D, Shapes2DBatch
from archaeology.data.worlds.shapes2d_rule import KINDS
from archaeology.figures._theme import (
    COLOURS,
    SEQUENTIAL,
    colour_bar,
    new_figure,
    place,
    themed,
)
from archaeology.figures._world_attention import owner_of_patches, seen_layers
from archaeology.figures._world_ink import (
    MARK,
    headline_height,
    title,
    write_at,
    write_headline,
)
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import percent
from archaeology.figures.world_shapes2d import sample_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORLD, ARCHITECTURES = "shapes2d", ("encoder_decoder",)


@dataclass(frozen=True)
class LookingPatch:
    """One patch of the answer, and where its query looks.

    Attributes:
        image: RGB, the input.
        target: RGB.
        owner: Shape at each pixel; -1 for none.
        grid: Rows and columns of the patches.
        patch: Number of the patch of the answer, row by row.
        kind: Of the shape there, in words; None where there is none.
        evidence: Patches of the image that hold any shape whose colour counts.
        layers: In words, only those of cross-attention.
        weights: Share of the query's attention on every patch of the image.
        on_evidence: Of that, what falls on the evidence.
        by_chance: Share of the patches that hold evidence.
        recipe: Of the model.
    """

    image: UInt8[np.ndarray, "height width 3"]
    target: UInt8[np.ndarray, "height width 3"]
    owner: Int[np.ndarray, "height width"]
    grid: tuple[int, int]
    patch: int
    kind: str | None
    evidence: Bool[np.ndarray, " key"]
    layers: list[str]
    weights: Float[np.ndarray, "layer head key"]
    on_evidence: Float[np.ndarray, "layer head"]
    by_chance: float
    recipe: str


def compute(source: WorldSource) -> LookingPatch | None:
    """The patch of the source, else one in the middle of the shape with most evidence; None without a trained model.

    Raises:
        ValueError: If there is no such patch.
    """
    run = next((run for run in source.each(WORLD, ARCHITECTURES) if _crosses(run.model)), None)
    if run is None:
        return None
    batch = Shapes2D().generate(sample_of(source), 1)
    size = int(getattr(run.model, "patch_size"))  # noqa: B009, modules do not say their attributes' types
    side = batch.owner.shape[-1] // size
    owners = owner_of_patches(batch.owner[0], batch.kind.shape[1], size)
    patch = _chosen(batch, size) if source.patch is None else source.patch
    if not 0 <= patch < side * side:
        raise ValueError(f"patch must be 0 to {side * side - 1}, but got {patch}.")
    shape = int(owners[patch])
    members = token_membership(batch.owner, batch.kind.shape[1], size)[0].numpy()
    counts = batch.evidence[0, shape].numpy() & (shape >= 0)
    evidence = np.any(members & counts[:, None], axis=0, keepdims=True)[0]
    layers = [layer for layer in seen_layers(run.model, batch.pair()[0]) if layer.is_cross]
    weights = np.stack([layer.pattern[:, patch] for layer in layers])
    return LookingPatch(
        image=batch.input[0].movedim(0, -1).numpy(),
        target=batch.target[0].movedim(0, -1).numpy(),
        owner=batch.owner[0].numpy(),
        grid=(side, side),
        patch=patch,
        kind=KINDS[int(batch.kind[0, shape])] if shape >= 0 else None,
        evidence=evidence,
        layers=[layer.words for layer in layers],
        weights=weights,
        on_evidence=weights[..., evidence].sum(axis=-1),
        by_chance=float(evidence.mean()),
        recipe=run.recipe,
    )


def _crosses(model: object) -> bool:
    return len(getattr(model, "decoder", ())) > 0


def _chosen(batch: Shapes2DBatch, patch_size: int) -> int:
    """The patch that holds most of the visible shape with most evidence."""
    there = (batch.kind[0] >= 0) & ~batch.vanishes[0]
    shape = int(batch.evidence[0].sum(dim=1).where(there, -1).argmax())
    held = (batch.owner[0] == shape).float()[None]
    return int(torch.nn.functional.avg_pool2d(held, patch_size).argmax())


def headline(data: LookingPatch) -> str:
    """The head that looks most at the evidence, if it is about a shape."""
    said = f"Patch {data.patch + 1} of the answer"
    if data.kind is None:
        return f"{said} shows no shape: nothing counts as evidence for it."
    layer, head = np.unravel_index(int(data.on_evidence.argmax()), data.on_evidence.shape)
    return (
        f"{said} draws a {data.kind} and must look at its kind; head {head + 1} of {data.layers[layer]} gives "
        f"{percent(float(data.on_evidence.max()), 0)} to the evidence, on {percent(data.by_chance, 0)} of the patches."
    )


SIDE, GAP, LEFT = 1.55, 0.16, 0.2


def draw(data: LookingPatch) -> "Figure":
    """Image and target at the left, one map for each layer (down) and head (across)."""
    layers, heads, _ = data.weights.shape
    said = headline(data)
    across = 2 * SIDE + 0.75
    width = max(LEFT + across + heads * (SIDE + GAP) + 0.15, 8.5)
    top = headline_height(width, said) + 0.45
    highest = float(data.weights.max())
    with themed("world_cross_patch"):
        figure = new_figure(width, top + layers * (SIDE + 0.35) + 0.6)
        write_headline(figure, said)
        for number, (words, image) in enumerate((("input", data.image), ("target", data.target))):
            axes = place(figure, LEFT + number * (SIDE + GAP), top, SIDE, SIDE)
            axes.imshow(
                image,
                extent=(0, data.grid[1], data.grid[0], 0),
                interpolation="nearest",
            )
            _finish(
                axes,
                data,
                f"{words}{', patch marked' if number else ''}",
                is_marked=number == 1,
            )
        for layer in range(layers):
            above = top + layer * (SIDE + 0.35)
            for head in range(heads):
                axes = place(figure, LEFT + across + head * (SIDE + GAP), above, SIDE, SIDE)
                cells = data.weights[layer, head].reshape(data.grid)
                axes.imshow(
                    cells,
                    cmap=SEQUENTIAL,
                    vmin=0,
                    vmax=highest,
                    extent=(0, data.grid[1], data.grid[0], 0),
                    interpolation="none",
                )
                _outlines(axes, data)
                name = f"head {head + 1}" if head else f"{data.layers[layer].partition(', ')[2]}, head 1"
                found = percent(float(data.on_evidence[layer, head]), 0)
                words = f"{name}: {found}" if data.kind is not None else name
                _finish(axes, data, words, is_marked=True)
        below = top + layers * (SIDE + 0.35) - 0.05
        colour_bar(
            place(figure, LEFT + across, below, 2.6, 0.09),
            SEQUENTIAL,
            0.0,
            highest,
            "share of the patch's attention",
        )
        notes = (
            "pink: the patch of the answer\nwhite: outlines of the shapes",
            "percent: attention on evidence",
        )
        text = "\n".join(notes if data.kind is not None else notes[:1])
        write_at(figure, LEFT, top + SIDE + 0.12, text, size=7.5, colour="muted")
    return figure


def _outlines(axes: "Axes", data: LookingPatch) -> None:
    height, width = data.owner.shape
    x = (np.arange(width) + 0.5) * data.grid[1] / width
    y = (np.arange(height) + 0.5) * data.grid[0] / height
    if (data.owner >= 0).any():
        axes.contour(
            x,
            y,
            (data.owner >= 0).astype(float),
            levels=[0.5],
            colors=[COLOURS["paper"]],
            linewidths=1.0,
        )


def _finish(axes: "Axes", data: LookingPatch, words: str, *, is_marked: bool) -> None:
    from matplotlib.patches import Rectangle

    row, column = divmod(data.patch, data.grid[1])
    if is_marked:
        box = Rectangle(
            (column, row),
            1,
            1,
            fill=False,
            edgecolor=MARK,
            linewidth=1.8,
            clip_on=False,
        )
        axes.add_patch(box)
    axes.set_xticks([])
    axes.set_yticks([])
    title(axes, words, size=8.0)


def table(data: LookingPatch) -> DataTable:
    """Attention on the evidence, by layer and head."""
    heads = data.weights.shape[1]
    rows = tuple(
        (words, *(percent(float(share)) for share in shares))
        for words, shares in zip(data.layers, data.on_evidence, strict=True)
    )
    chance = ("by chance", *(percent(data.by_chance),) * heads)
    return DataTable(
        ("Attention on the evidence", *(f"Head {head + 1}" for head in range(heads))),
        (*rows, chance),
    )


world_cross_patch = world_figures.register("world_cross_patch")(
    Drawing(
        name="world_cross_patch",
        title="Where does one patch of the answer look?",
        explanation="In cross-attention every patch of the answer asks the patches of the image; bright is much "
        "attention.",
        definition="The query of one patch of the answer in each cross-attention layer and head, on a held-out sample "
        "of shapes2d. Evidence: patches of the image of which a shape whose colour counts owns a tenth or more.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
