"""The readout is what the classifier reads, so an attention map of the image is what the readout looks at.

A model with a class token reads that token: the map is its row. A model that averages its patches has no
such row: the map is the mean of the patches' rows. A pooling layer has one query only: the map is that row.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import Record
from archaeology.core.shapes import Heatmap, Pattern
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen


def layout_of(made: Record | Specimen, method: str) -> TokenLayout:
    """The token layout of a record or a model.

    Raises:
        ValueError: If the model has no tokens; the message says which method would work.
    """
    if made.layout is None:
        raise ValueError(
            f"{method} needs a model with a token layout, but this {type(made).__name__.lower()} has none (a "
            "convolutional network?); use grad_cam, or declare layout=TokenLayout(...) when loading the model."
        )
    return made.layout


def readout_weights(layout: TokenLayout) -> Float[Tensor, " token"]:
    """The share of each token in what the classifier reads: all on the class token, or patches alike."""
    weights = torch.zeros(layout.num_tokens, dtype=torch.float64)
    if layout.readout == "class_token" and layout.class_token is not None:
        weights[layout.class_token] = 1
    else:
        weights[layout.num_prefix :] = 1 / layout.num_patches
    return weights


def readout_row(pattern: Pattern, layout: TokenLayout) -> Float[Tensor, "batch head key"]:
    """How the readout spreads its attention over the keys, in every head.

    A layer that a late class token has not joined yet is read by its patches.
    """
    if pattern.shape[2] == 1:
        return pattern[:, :, 0]
    has_class = pattern.shape[2] == layout.num_tokens and layout.class_token is not None
    if layout.readout == "class_token" and has_class:
        return pattern[:, :, layout.class_token]
    return pattern[:, :, -layout.num_patches :].mean(dim=2)


def patch_map(tokens: Float[Tensor, "batch token"], layout: TokenLayout) -> Heatmap:
    """The patches of a row of tokens, on their grid; the tokens in front of them are left out."""
    return tokens[:, -layout.num_patches :].unflatten(1, (layout.rows, layout.columns))
