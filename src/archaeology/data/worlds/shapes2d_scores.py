"""How well a model redraws the scenes of `shapes2d`: colours, outlines, and what should have vanished."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.data.worlds.ratio import Ratio
from archaeology.data.worlds.shapes2d import Shapes2DBatch
from archaeology.data.worlds.shapes2d_rule import FILLED_CIRCLE, mean_colours, red_dominant

DRAWN = 32 / 255  # a pixel is drawn where some channel is further than this from the background

Colours = Float[Tensor, "batch shape 3"]


def scores(batch: Shapes2DBatch, prediction: Float[Tensor, "batch 3 height width"]) -> dict[str, Ratio]:
    """Marks for a prediction of the target, sample by sample.

    Args:
        batch: The scenes and the truth about them.
        prediction: Values from 0 to 1.

    Returns:
        "mse": mean squared error of a value. "colour_error": how far the mean colour inside each shape is from what the
        target shows, over how far the shape's own colour is from it: 0 is perfect, 1 is no averaging at all; shapes
        that vanish have no say. "iou": pixels drawn in both prediction and target, over those drawn in either.
        "vanish_precision", "vanish_recall": of the filled circles that vanished those that should have, and of those
        that should have those that did; see `vanished`.
    """
    prediction = prediction.float()
    target = batch.target.float() / 255
    error = ((prediction - target) ** 2).flatten(1)
    seen = mean_inside(batch, prediction)
    gone, should = vanished(batch, seen), batch.vanishes
    ground = (batch.background / 255)[:, :, None, None]
    drawn, expected = (((image - ground).abs() > DRAWN).any(1) for image in (prediction, target))
    return {
        "mse": Ratio(error.sum(1), torch.full_like(error[:, 0], error.shape[1])),
        "colour_error": _colour_error(batch, seen),
        "iou": _share((drawn & expected).flatten(1), (drawn | expected).flatten(1)),
        "vanish_precision": _share(gone & should, gone),
        "vanish_recall": _share(gone & should, should),
    }


def mean_inside(batch: Shapes2DBatch, image: Float[Tensor, "batch 3 height width"]) -> Colours:
    """Mean colour of each shape's wholly covered pixels."""
    num_scenes, num_shapes = batch.kind.shape
    scene, row, column = batch.inside.nonzero(as_tuple=True)
    shape = scene * num_shapes + batch.owner[scene, row, column].long()
    total = torch.zeros(num_scenes * num_shapes, 3, dtype=torch.float64, device=image.device)
    total.index_add_(0, shape, image[scene, :, row, column].double())
    count = shape.bincount(minlength=len(total)).clamp(min=1)
    return (total / count[:, None]).unflatten(0, (num_scenes, num_shapes)).float()


def vanished(batch: Shapes2DBatch, seen: Colours) -> Bool[Tensor, "batch shape"]:
    """Filled circles whose colour is nearer to the background than to both colours they might have been painted in.

    These are their own, and that of their group: what the target shows, or where the target shows nothing the mean of
    the scene's red-dominant filled circles, if there are any. Distances are mean absolute differences.
    """
    circle = batch.kind == FILLED_CIRCLE
    red = (circle & red_dominant(batch.colour))[:, None, :].expand_as(batch.evidence)
    group = torch.where(red.any(2, keepdim=True), mean_colours(red, batch.colour), batch.colour)
    group = torch.where(batch.vanishes[..., None], group, batch.painted)
    ground, own, other = (
        (seen - colour / 255).abs().mean(-1) for colour in (batch.background[:, None], batch.colour, group)
    )
    return circle & (ground < own) & (ground < other)


def _colour_error(batch: Shapes2DBatch, seen: Colours) -> Ratio:
    counts = (batch.kind >= 0) & ~batch.vanishes
    shown = (batch.painted + 0.5).floor()  # as the target has it, so that the target itself is perfect
    off, apart = (seen - shown / 255).abs().mean(-1), (batch.colour - shown).abs().mean(-1) / 255
    return Ratio((off * counts).sum(1), (apart * counts).sum(1))


def _share(part: Bool[Tensor, "batch thing"], whole: Bool[Tensor, "batch thing"]) -> Ratio:
    return Ratio(part.sum(1).float(), whole.sum(1).float())
