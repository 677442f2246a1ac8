"""How well a signal of `shapes1d` was redrawn: not only its values, but whether shapes were averaged, and are there."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.data.worlds.ratio import Ratio
from archaeology.data.worlds.shapes1d import Shapes1DBatch

DRAWN = 0.05  # a sample above this value counts as drawn


@torch.no_grad()
def scores(batch: Shapes1DBatch, prediction: Float[Tensor, "batch length"]) -> dict[str, Ratio]:
    """Judge predictions against the truth.

    Args:
        batch: The signals and the truth about them.
        prediction: What was answered to `batch.input`.

    Returns:
        `mse`: mean squared error of a value. `amplitude_error`: how far the amplitudes of the shapes, fitted by least
        squares to what was drawn at their places, are from the mean of their kind, as a share of how far those of the
        input are: 0 is perfect, 1 is what leaving every shape as it is costs. `iou`: samples drawn in both prediction
        and target, as a share of those drawn in either.
    """
    drawn, wanted = prediction > DRAWN, batch.target > DRAWN
    prediction, target = prediction.double(), batch.target.double()
    squared = ((prediction - target) ** 2).sum(dim=1)
    mean, amplitude = batch.mean.double(), batch.amplitude.double()
    return {
        "mse": Ratio(squared, torch.full_like(squared, prediction.shape[1])),
        "amplitude_error": Ratio(
            (fitted_amplitudes(batch, prediction) - mean).abs().sum(dim=1),
            (amplitude - mean).abs().sum(dim=1),
        ),
        "iou": Ratio((drawn & wanted).sum(dim=1).double(), (drawn | wanted).sum(dim=1).double()),
    }


def fitted_amplitudes(
    batch: Shapes1DBatch, values: Float[Tensor, "batch length"]
) -> Float[Tensor, "batch shape"]:
    """The amplitude at which each shape fits the values best, by least squares; 0 where there is no such shape."""
    unit = batch.unit.double()
    products = _per_shape(unit * values.double(), batch.owner, batch.kind.shape[1])
    squares = _per_shape(unit * unit, batch.owner, batch.kind.shape[1])
    return products / squares.where(batch.kind >= 0, 1)


def _per_shape(
    values: Float[Tensor, "batch length"], owner: Int[Tensor, "batch length"], num_shapes: int
) -> Float[Tensor, "batch shape"]:
    """Sum of the values over the samples of each shape."""
    sums = values.new_zeros(len(values), num_shapes + 1)  # the first is for samples of no shape
    return sums.scatter_add(1, owner + 1, values)[:, 1:]
