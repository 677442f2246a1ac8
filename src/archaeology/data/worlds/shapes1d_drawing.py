"""The shapes of `shapes1d` as heights: what is the mean height of a shape over each sample it touches?

A sample is a cell of width one, and its value the mean over that cell, so edges are anti-aliased and a shape keeps its
area wherever it lies. Every shape is drawn in a window as wide as the widest one, by exactly rounded operations.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, maximum, minimum

POINTS = 8  # per cell, at which a semicircle is measured

# Start and stop of the covered part of each cell of a window, from the left end of the shape, then the shape's width.
Area = Callable[[Tensor, Tensor, Tensor], Tensor]


def triangle(start: Tensor, stop: Tensor, width: Tensor) -> Tensor:
    """Area between `start` and `stop`, exact: the height climbs to 1 in the middle and falls again."""
    middle = width / 2
    left, right = minimum(start, middle), minimum(stop, middle)
    rising = (right - left) * (left + right)
    left, right = width - maximum(start, middle), width - maximum(stop, middle)
    return (rising + (left - right) * (left + right)) / width


def rectangle(start: Tensor, stop: Tensor, width: Tensor) -> Tensor:
    """Area between `start` and `stop`: the height is 1."""
    return stop - start


def semicircle(start: Tensor, stop: Tensor, width: Tensor) -> Tensor:
    """Area between `start` and `stop` under half an ellipse of height 1, measured at `POINTS` points."""
    step = (stop - start) / POINTS
    total = torch.zeros_like(step)
    for number in range(POINTS):
        x = start + step * (number + 0.5)
        total = total + (x * (width - x)).sqrt()  # in turn: a sum of tensors may take any order
    return total * step / (width / 2)


AREAS: dict[str, Area] = {"triangle": triangle, "rectangle": rectangle, "semicircle": semicircle}
KINDS = tuple(AREAS)


def draw_shapes(
    kind: Int[Tensor, "batch shape"], span: Float[Tensor, "batch shape 2"], length: int
) -> tuple[Float[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    """Height of the shapes of each signal, were every amplitude 1, and the shape each sample belongs to or -1.

    Args:
        kind: Index into `KINDS`; -1 where there is no shape.
        span: Start and stop, in samples; no two shapes of a signal touch the same sample.
        length: Of the signals.
    """
    # One column more than there are samples takes what lies in a window and not in the shape.
    unit = torch.zeros(len(kind), length + 1, device=span.device)
    owner = torch.full((len(kind), length + 1), -1, device=span.device)
    for number, area in enumerate(AREAS.values()):
        sample, shape = (kind == number).nonzero()[..., None].unbind(1)
        if not len(sample):
            continue
        left, right = span[sample, shape].unbind(-1)
        width = right - left
        cells = left.floor() + torch.arange(int(width.max()) + 2, device=span.device)
        start, stop = minimum((cells - left).clamp(min=0), width), minimum(cells + 1 - left, width)
        place = torch.where(start < stop, cells.long(), length)
        unit[sample, place] = area(start, stop, width)
        owner[sample, place] = shape
    return unit[:, :length].contiguous(), owner[:, :length].contiguous()
