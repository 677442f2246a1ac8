"""Following attention through windows and over stages: shares are pushed through each window, then laid on the map.

A layer on windows mixes only tokens of one window, and where they lie on the map is known (`capture/places.py`). So a
row of shares over the whole map is cut into windows, pushed through their small matrices and laid down again, and no
matrix of the whole map is formed. Where tokens are merged between two stages, the share of a merged token goes to those
that it was made of, in equal parts, as the rule looks at no weights but those of attention. The map ends up on the grid
of the first stage. Weight on padding is left out, since nothing of the image lies there. Source:
`abnar2020quantifying`. Differs: it knows one map only; here windows are blocks of its matrices, and merging is a mean.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from archaeology.capture.places import Places
from archaeology.capture.record import CapturedPattern, Record
from archaeology.core.shapes import Heatmap
from archaeology.explain.layers import Fuse, Layers, Rows, Step, layers_of
from archaeology.explain.readout import layout_of

Grid = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Stages:
    """The attention layers of a model on windows or on maps of several sizes.

    Attributes:
        layers: With places, first to last.
        pool: The attention pool at the end, or None; without it the mean of the last map is read.
    """

    layers: tuple[CapturedPattern, ...]
    pool: CapturedPattern | None = None

    def __len__(self) -> int:
        return len(self.layers) + (self.pool is not None)

    @property
    def readout(self) -> str:
        """What the classifier reads, in words."""
        return "mean" if self.pool is None else "attention pool's"

    @property
    def ways(self) -> str:
        """What a formula must add, in words."""
        return ", window by window; the share of a merged token goes to those it was made of in equal parts"

    def start(self, fuse: Fuse) -> Float[Tensor, "batch place"]:
        """The share of each place of the last map in what is read at the end."""
        if self.pool is not None:
            return fuse(self.pool).mean(dim=1)
        last = self.layers[-1]
        places = places_in(last)
        num_images = len(last.pattern) // len(places.index)
        return last.pattern.new_full((num_images, places.num_places), 1 / places.num_places)

    def pushed(self, rows: Rows, fuse: Fuse, step: Step) -> Rows:
        """Rows of shares of the last map, pushed from the last layer to the first; on the first stage's map.

        Args:
            rows: One or several.
            fuse: Makes one matrix of a layer's heads.
            step: What a layer does to the rows of its windows, given their matrices.
        """
        grid: Grid | None = None
        for layer in reversed(self.layers):
            places = places_in(layer)
            here = (places.rows, places.columns)
            if grid is not None and grid != here:
                rows = tuple(unmerged(row, grid, here) for row in rows)
            grid = here
            matrix = places.without_padding(fuse(layer))
            rows = tuple(
                places.on_map(row) for row in step(tuple(places.by_window(row) for row in rows), matrix)
            )
        return rows

    def map_of(self, row: Float[Tensor, "batch place"]) -> Heatmap:
        """A row of the first stage's map, on its grid."""
        first = places_in(self.layers[0])
        return row.unflatten(1, (first.rows, first.columns))


def unmerged(row: Float[Tensor, "batch merged"], coarse: Grid, fine: Grid) -> Float[Tensor, "batch place"]:
    """The share of each merged token, in equal parts on the block of tokens it was made of; an odd edge cuts blocks.

    Args:
        row: On the coarse map, row by row.
        coarse: Rows and columns after merging.
        fine: Rows and columns before.

    Raises:
        ValueError: If no block of equal sides (cut at the edge) makes one of the other.
    """
    sides = tuple(-(-many // few) for many, few in zip(fine, coarse, strict=True))
    if any(
        -(-many // side) != few or few > many for many, few, side in zip(fine, coarse, sides, strict=True)
    ):
        raise ValueError(
            f"stages must merge blocks of tokens into one, but a map of {fine[0]} x {fine[1]} tokens became one of "
            f"{coarse[0]} x {coarse[1]}; use grad_cam for this model."
        )
    shares = row.unflatten(1, coarse)
    for axis, (many, side) in enumerate(zip(fine, sides, strict=True), start=1):
        counts = row.new_full((coarse[axis - 1],), side)
        counts[-1] = many - side * (coarse[axis - 1] - 1)
        shape = (-1, 1) if axis == 1 else (1, -1)
        shares = (shares / counts.view(shape)).repeat_interleave(side, dim=axis).narrow(axis, 0, many)
    return shares.flatten(1)


def followed(record: Record, method: str) -> Layers | Stages:
    """The record's attention layers such that attention can be followed from end to beginning, over stages if need be.

    Args:
        record: Captured with patterns.
        method: Who asks, for the message of an error.

    Raises:
        ValueError: If the model has no tokens, or where the tokens of a layer lie is not known; says what would work.
    """
    if all(seen.places is None for seen in record.attentions):
        return layers_of(record, method)
    layout_of(record, method)
    *before, last = record.attentions
    num_places = next(
        seen.places.num_places for seen in reversed(record.attentions) if seen.places is not None
    )
    has_pool = last.kind == "pool" and last.places is None and last.pattern.shape[-1] == num_places
    layers = tuple(before) if has_pool else record.attentions
    lost = [seen for seen in layers if seen.places is None]
    if lost:
        raise ValueError(
            f"{method} needs to know where the tokens of every layer lie, but for {len(lost)} of {len(layers)} layers "
            f"that could not be found out ({', '.join(f'{seen.module}: {seen.kind}' for seen in lost[:3])}); "
            "use grad_cam for this model."
        )
    return Stages(layers, last if has_pool else None)


def places_in(layer: CapturedPattern) -> Places:
    """The layer's places, which `followed` has checked."""
    assert layer.places is not None
    return layer.places
