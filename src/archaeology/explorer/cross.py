"""Subjects of encoder-decoders: each token of the answer is asked which patches of the image it looks at.

Such a model is no specimen, as it answers with tokens and not with logits; so the model itself is given, with the names
of its queries. Beside the cross-attention of every layer stands the rollout through decoder and encoder
(`explain/cross_rollout.py`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archaeology.core.shapes import Image, PixelImage
from archaeology.explain.cross_rollout import cross_rolled, encoder_decoder_patterns
from archaeology.explorer.live import Caption, pixels_of
from archaeology.explorer.maps import EVEN_SHARE
from archaeology.explorer.subject import AttentionLayer, AttentionLayers, HeatMap, Model, Subject
from archaeology.specimens.layout import TokenLayout

SAYS = "from which patches the tokens of the answer gathered their information, through decoder and encoder"
FORMULA = (
    "A = 1/2 mean over heads + 1/2 I; self-attention Q <- A Q, C <- A C; cross-attention Q <- Q / 2, "
    "C <- (C + X E) / 2; mean row of C, E the rollout of the encoder"
)


def cross_subjects(
    model: nn.Module,
    inputs: Sequence[Tensor],
    images: Image | PixelImage,
    captions: Sequence[Caption],
    *,
    name: str,
    grid: tuple[int, int],
    queries: Sequence[str] | None = None,
) -> list[Subject]:
    """A subject for each image of a batch.

    Args:
        model: In evaluation mode, with cross-attention.
        inputs: What it is called with, in batches.
        images: As they are shown, floats in [0, 1] or 8 bit.
        captions: One for each image.
        name: Of the model.
        grid: Rows and columns of the patches that the decoder looks at.
        queries: Names of the tokens that look; their places, or numbers, if None.

    Raises:
        ValueError: If the model has no cross-attention, looks at other tokens than the grid's, has another number of
            queries than names, or captions are not one for each image.
    """
    found = encoder_decoder_patterns(model, *inputs)
    last = found.cross[-1]
    batch, _, num_queries, num_tokens = last.shape
    if num_tokens != grid[0] * grid[1]:
        raise ValueError(
            f"grid must hold the {num_tokens} tokens that the decoder looks at, but got {grid[0]} x {grid[1]}."
        )
    names = tuple(queries) if queries is not None else _query_names(num_queries, grid)
    if len(names) != num_queries or not len(captions) == len(images) == batch:
        raise ValueError(
            f"queries must name each of {num_queries} tokens and captions each of {batch} images, but got {len(names)} "
            f"names, {len(captions)} captions and {len(images)} images."
        )
    start = last.new_full((batch, 1, num_queries), 1 / num_queries)
    with torch.no_grad():
        shares = cross_rolled(found.encoder, found.decoder_self, found.cross, start).tokens[:, 0].clamp(min=0)
    rolled = (shares * num_tokens).unflatten(1, grid).float().cpu().numpy()
    pixels, layout = pixels_of(images), TokenLayout(*grid, readout="mean")
    subjects = []
    for place, caption in enumerate(captions):
        layers = tuple(
            AttentionLayer(
                f"cross-attention {number}",
                *grid,
                across.shape[1],
                across[place].detach().float().cpu().numpy(),
            )
            for number, across in enumerate(found.cross, start=1)
        )
        attention = AttentionLayers("cross", layers, names)
        drawn = HeatMap(
            "cross_rollout", "Cross rollout", SAYS, FORMULA, EVEN_SHARE, rolled[place], knows_class=False
        )
        seen = Model("decoder", "encoder-decoder", name, layout=layout, attention=attention, maps=(drawn,))
        subjects.append(Subject(caption.id, caption.title, pixels[place], (seen,), caption.label))
    return subjects


def _query_names(count: int, grid: tuple[int, int]) -> tuple[str, ...]:
    if count == grid[0] * grid[1]:
        return tuple(f"row {place // grid[1] + 1}, column {place % grid[1] + 1}" for place in range(count))
    return tuple(f"query {number}" for number in range(1, count + 1))
