"""Weights of a model for images of one size in the same model for another: only what is learned for places changes.

Learned vectors of places are stretched bicubically, as `touvron2021training` did to fine-tune at a higher resolution,
and likewise tables of relative positions. Waves and coordinates follow from the sizes and are no weights.
"""

import torch
from torch import Tensor, nn

from archaeology.attention.positions import GridPositions, resized_grid_features
from archaeology.attention.relative_bias import GridBias, resized_grid_table
from archaeology.attention.shifted_window import ShiftedWindow


@torch.no_grad()
def resized_positions(source: nn.Module, target: nn.Module) -> dict[str, Tensor]:
    """The state dict of `source`, with what is learned for places as `target` needs it.

    Args:
        source: One of ours, trained; it stays as it is.
        target: The same architecture and arguments, but for the image size (and, if need be, the number of classes:
            heads are handed on as they are).

    Raises:
        ValueError: If something that is learned for places is in one of them only.
    """
    tensors = dict(source.state_dict())
    old, new = (_places(model) for model in (source, target))
    if old.keys() != new.keys():
        raise ValueError(
            "positions go from a model to the same one for other images, but only one of the two has "
            f"{', '.join(sorted(old.keys() ^ new.keys()))}; build them with the same arguments but image_size."
        )
    for name, module in new.items():
        key = f"{name}.table"
        tensors[key] = _resized(tensors[key], old[name], module)
    return tensors


def _places(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that learn something for places of a grid, by path."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, GridBias | ShiftedWindow)
        or (isinstance(module, GridPositions) and module.kind == "learnable")
    }


def _resized(table: Tensor, old: nn.Module, new: nn.Module) -> Tensor:
    if isinstance(old, GridPositions) and isinstance(new, GridPositions):
        (rows, columns), (more_rows, more_columns) = old.sizes, new.sizes
        return resized_grid_features(table, (rows, columns), (more_rows, more_columns))
    if isinstance(old, GridBias) and isinstance(new, GridBias):
        return resized_grid_table(table, old.grid, new.grid) if old.grid != new.grid else table
    assert isinstance(old, ShiftedWindow) and isinstance(new, ShiftedWindow)
    if old.window == new.window:
        return table
    return resized_grid_table(table, (old.window, old.window), (new.window, new.window))
