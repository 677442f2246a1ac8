"""Which token of a list is which place of the image: exchange stripes of the image, and tokens there change.

A list of tokens need not run row by row: some models sort their tokens by window once and for all. So an order is only
believed when the image confirms it, with stripes from half its size to a single place, across and along; meanwhile all
attention is silenced, which would spread the news.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from math import sqrt
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from archaeology.capture.edit import Edits, HeadEdit
from archaeology.capture.interceptor import intercepted
from archaeology.capture.scout import Layer, Spot, carrier
from archaeology.core.seeding import torch_generator

Grid = tuple[int, int]
MOST_PREFIX = 8
LEAST_SURE = 3.0  # standard errors by which a correlation must exceed zero


def stripes(size: Grid) -> Bool[Tensor, "stripe height width"]:
    """Every second of 2, 4, 8, ... stripes, across and along."""
    found: list[Tensor] = []
    for axis, length in enumerate(size):
        for halvings in range(1, length.bit_length()):
            line = (torch.arange(length) * 2**halvings // length) % 2 == 1
            found.append((line[:, None] if axis == 0 else line[None]).expand(size))
    return torch.stack(found) if found else torch.zeros(0, *size, dtype=torch.bool)


def changes_by_stripes(
    model: nn.Module,
    run: Callable[[Tensor], object],
    image: Float[Tensor, "1 channel height width"],
    spots: Sequence[Spot],
    layers: Sequence[Layer],
) -> dict[Spot, Float[Tensor, "stripe place"]]:
    """How much each token at each spot changes when the image is exchanged in `stripes`.

    Args:
        model: The whole model.
        run: Runs it on images.
        image: In [0, 1].
        spots: Where to look.
        layers: All attention layers of the model, which are silenced.
    """
    masks = stripes((image.shape[2], image.shape[3]))
    other = torch.rand(image.shape, generator=torch_generator(0, "provenance", "other image"))
    images = torch.cat([image, torch.where(masks[:, None], other, image)])
    found: dict[Spot, Tensor] = {}
    with ExitStack() as stack:
        for path in dict.fromkeys(spot.path for spot in spots):
            here = [spot for spot in spots if spot.path == path]
            turns = {True: 0, False: 0}

            def look(
                is_input: bool, things: object, here: list[Spot] = here, turns: dict[bool, int] = turns
            ) -> None:
                tensor = carrier(things)
                for spot in here:
                    if (spot.is_input, spot.turn) == (is_input, turns[is_input]) and tensor is not None:
                        found[spot] = _changes(tensor, spot)
                turns[is_input] += 1

            module = model.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(partial(_enter, look), with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(partial(_leave, look)).remove)
        stack.enter_context(intercepted(model, None, edit=_silence(layers, len(images))))
        run(images)
    return found


def _silence(layers: Sequence[Layer], num_images: int) -> Edits:
    """All heads of all layers say zero."""
    return Edits(
        tuple(
            HeadEdit(number, torch.ones(num_images, layer.num_heads, dtype=torch.bool))
            for number, layer in enumerate(layers)
        )
    )


def _enter(
    look: Callable[[bool, object], None], _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    look(True, (*given, *named.values()))


def _leave(look: Callable[[bool, object], None], _: nn.Module, given: object, output: object) -> None:
    look(False, output)


def _changes(tensor: Tensor, spot: Spot) -> Tensor:
    tensor = tensor.detach().float().cpu()
    tensor = tensor.movedim(1, -1) if spot.axis == 0 else tensor
    tensor = tensor.reshape(len(tensor), spot.num_places, spot.num_features)
    return (tensor[1:] - tensor[:1]).norm(dim=-1)


def is_raster(changes: Float[Tensor, "stripe place"], grid: Grid, size: Grid, *, finest: bool = True) -> bool:
    """Whether tokens, read row by row on this grid, change where the stripes are.

    Args:
        changes: Of the tokens of the grid.
        grid: Rows and columns supposed.
        size: Of the image in pixels.
        finest: Whether stripes of single places count, which convolutions blur.
    """
    masks = stripes(size).float()
    covered = nn.functional.adaptive_avg_pool2d(masks[:, None], grid).flatten(1)
    spread = covered.std(dim=1, correction=0)
    # Stripes finer than a place cover all alike and say nothing.
    telling = spread > 0.3
    if not finest:
        for axis in (slice(0, size[0].bit_length() - 1), slice(size[0].bit_length() - 1, None)):
            scales = telling[axis].nonzero()[:, 0]
            telling[axis][scales[1:][-1:]] = False
    if grid[0] * grid[1] == 1:
        return True
    if not bool(telling.any()):
        return False
    return all(_is_sure(changes[number], covered[number]) for number in telling.nonzero()[:, 0].tolist())


def _is_sure(changes: Float[Tensor, " place"], covered: Float[Tensor, " place"]) -> bool:
    one, two = changes - changes.mean(), covered - covered.mean()
    correlation = float((one * two).sum() / (one.norm() * two.norm()).clamp(min=1e-12))
    spare = max(1e-12, 1 - correlation**2)
    return correlation * sqrt(max(len(changes) - 2, 1) / spare) > LEAST_SURE


def grid_of(
    changes: Float[Tensor, "stripe place"], spot: Spot, size: Grid, is_fitting: Callable[[int, Grid], bool]
) -> tuple[int, Grid] | None:
    """How many tokens stand before the map, and its rows and columns; None if the image confirms none.

    Args:
        changes: By stripes, at the spot.
        spot: Where the tokens pass by.
        size: Of the image in pixels.
        is_fitting: Whether such a prefix and grid can be.
    """
    if len(spot.grid) == 2:
        grid = (spot.grid[0], spot.grid[1])
        return (0, grid) if is_fitting(0, grid) and is_raster(changes, grid, size, finest=False) else None
    for prefix in range(min(MOST_PREFIX, spot.num_places // 3) + 1):
        for grid in _grids(spot.num_places - prefix, size):
            if is_fitting(prefix, grid) and is_raster(changes[:, prefix:], grid, size):
                return prefix, grid
    return None


def _grids(count: int, size: Grid) -> list[Grid]:
    """Rows and columns that have the shape of the image, within rounding."""
    height, width = size
    strides = range(1, max(height, width) + 1)
    up = [(-(-height // stride), -(-width // stride)) for stride in strides]
    down = [(height // stride, width // stride) for stride in strides]
    return list(dict.fromkeys(grid for grid in (*up, *down) if grid[0] * grid[1] == count))
