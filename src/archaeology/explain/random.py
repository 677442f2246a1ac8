"""Random maps: the floor that any method must rise above, drawn anew for every image but always the same for it.

Uniform noise from a generator seeded by the image's own values, so that a map does not depend on which other images
are in the batch, or on the model.
"""

import torch

from archaeology.capture.record import Record
from archaeology.core.seeding import content_names, torch_generator
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_record

#: Blocks from edge to edge of an image whose model has no tokens: as many as the usual CNN has at its end.
NUM_BLOCKS = 7


@of_record("random", title="Random map", looks_at_class=False)
def random(record: Record, *, seed: int = 0) -> Explanation:
    """Noise between 0 and 1 on the grid of the model's patches, or on 7 x 7 blocks of an image without tokens.

    Args:
        record: Any; only images and layout are read.
        seed: Of the noise, >= 0; other seeds give other maps.

    Raises:
        ValueError: If the seed is negative.
    """
    layout = record.layout
    height, width = record.images.shape[-2:]
    grid = (
        (min(NUM_BLOCKS, height), min(NUM_BLOCKS, width)) if layout is None else (layout.rows, layout.columns)
    )
    names = content_names(record.images)
    maps = [torch.rand(grid, generator=torch_generator(seed, "random map", name)) for name in names]
    return Explanation(
        heatmap=torch.stack(maps).to(record.images.device),
        method="random",
        parameters={"seed": seed},
        formula=f"uniform noise in [0, 1) on {grid[0]} x {grid[1]} places, from the image's values and seed {seed}",
    )
