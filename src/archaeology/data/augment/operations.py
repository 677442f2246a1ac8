"""Fifteen changes of an image, by name, and how to make a different one of each image of a batch in one go.

Images are sorted by what is to be done with them, so that all shears, shifts and turns are one gather, and all changes
of levels one look-up.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.filters import hue, saturation, sharpness
from archaeology.data.augment.geometry import (
    Map,
    Size,
    moved,
    rotate,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
from archaeology.data.augment.levels import (
    Table,
    autocontrast,
    brightness,
    contrast,
    equalize,
    looked_up,
    posterize,
    solarize,
)

Strength = Float[Tensor, " batch"]

MOVES: dict[str, Callable[[Strength, Size], Map]] = {
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
}
LEVELS: dict[str, Callable[[PixelImage, Strength], Table]] = {
    "brightness": brightness,
    "contrast": contrast,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}
FILTERS: dict[str, Callable[[PixelImage, Strength], PixelImage]] = {
    "saturation": saturation,
    "sharpness": sharpness,
    "identity": lambda images, _: images,
    "hue": hue,
}
OPERATIONS = (*MOVES, *LEVELS, *FILTERS)


def operated(images: PixelImage, operation: Int[Tensor, " batch"], strength: Strength) -> PixelImage:
    """Apply to each image its operation at its strength.

    Args:
        images: Of one or three channels; not changed.
        operation: Places in `OPERATIONS`.
        strength: What the operation takes: slope, pixels, degrees, factor, bits, threshold or turn.

    Raises:
        ValueError: If the images have another number of channels, or are too large.
    """
    channel, *size = images.shape[1:]
    if channel not in (1, 3):
        raise ValueError(
            f"images must have 1 or 3 channels, but got {channel}; leave colours and policy out."
        )
    order = operation.argsort(stable=True)
    counts = operation.bincount(minlength=len(OPERATIONS)).tolist()
    ordered = images.index_select(0, order.to(images.device))
    drawn = zip(OPERATIONS, ordered.split(counts), strength[order].split(counts), strict=True)
    maps, tables, filtered = [], [], []
    for name, part, own in drawn:
        if not len(part):
            continue
        if name in MOVES:
            maps.append(MOVES[name](own, (size[0], size[1])))
        elif name in LEVELS:
            tables.append(LEVELS[name](part, own).expand(-1, channel, -1))
        else:
            filtered.append(FILTERS[name](part, own))
    num_maps, num_tables = sum(map(len, maps)), sum(map(len, tables))
    results = [
        moved(ordered[:num_maps], torch.cat(maps)) if maps else ordered[:0],
        looked_up(ordered[num_maps:][:num_tables], torch.cat(tables)) if tables else ordered[:0],
        *filtered,
    ]
    return torch.cat(results).index_select(0, order.argsort().to(images.device))
