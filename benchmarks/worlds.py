"""Scenes of shapes2d drawn in batches, against Pillow drawing the same scenes one by one, both from the same numbers.

Pillow has no soft edges: it draws the input and the target several times as large and averages. How many times decides
how well it agrees with us, so that is printed too, for pixels on edges: its own outlines lie on whole pixels of the
large canvas. Four times leaves errors that the eye sees; the promise is against eight times.
"""

import sys
from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from archaeology.data.worlds import Shapes2D, Shapes2DBatch
from archaeology.data.worlds.shapes2d_drawing import STROKE
from archaeology.data.worlds.world import BLOCK
from benchmarks._side_by_side import Comparison, comparison, report, seconds, setting

SCENES = 64
TARGETS = {4: None, 8: 20.0}  # how many times as large Pillow draws: how many times faster we promise to be


def main() -> None:
    given = setting(__doc__)
    world, count = Shapes2D(), 4 if given.small else SCENES
    batch = world.generate(0, count)
    lines: list[Comparison] = []
    for times, target in TARGETS.items():
        print(f"Pillow at {times} times the size: {agreement(batch, pillow(batch, times))}")
        ours, theirs = seconds(given, fresh, partial(pillow, batch, times), rounds=3 if given.small else 15)
        lines.append(
            comparison(
                f"shapes2d, input and target, {times} x {times} points a pixel, per scene",
                "pillow",
                ours=ours / BLOCK * 1e3,
                theirs=theirs / count * 1e3,
                unit="ms",
                target=target,
            )
        )
    report("worlds", given, lines)


def fresh() -> None:
    """A block of scenes in batches of 64, all of it from choosing the numbers to the truth."""
    for _ in Shapes2D(num_samples=BLOCK).batches(SCENES):
        pass


def pillow(batch: Shapes2DBatch, times: int) -> list[UInt8[Tensor, "batch 3 height width"]]:
    """Inputs and targets."""
    colours = [
        np.floor(colour.numpy() + 0.5).astype(int).tolist() for colour in (batch.colour, batch.painted)
    ]
    scenes = [field.tolist() for field in (batch.kind, batch.centre, batch.half)]
    size = batch.input.shape[-1]
    return [
        torch.from_numpy(
            np.stack(
                [
                    np.asarray(scene(kinds, centres, halves, inks, size, times))
                    for kinds, centres, halves, inks in zip(*scenes, paint, strict=True)
                ]
            )
        ).permute(0, 3, 1, 2)
        for paint in colours
    ]


def scene(
    kinds: list[int],
    centres: list[list[float]],
    halves: list[list[float]],
    colours: list[list[int]],
    size: int,
    times: int,
) -> Image.Image:
    image = Image.new("RGB", (size * times, size * times))
    pen = ImageDraw.Draw(image)
    for kind, (x, y), (width, height), colour in zip(kinds, centres, halves, colours, strict=True):
        if kind < 0:
            continue
        box = [round(edge * times) for edge in (x - width, y - height, x + width, y + height)]
        shape = pen.ellipse if kind < 2 else pen.rectangle
        corners = (box[0], box[1], box[2] - 1, box[3] - 1)
        if kind % 2:
            shape(corners, outline=tuple(colour), width=STROKE * times)
        else:
            shape(corners, fill=tuple(colour))
    return image.reduce(times)


def agreement(batch: Shapes2DBatch, images: list[Tensor]) -> str:
    """How far two drawings of the same scenes are apart, in words."""
    edge = (batch.owner >= 0) & ~batch.inside
    off = torch.stack(
        [
            (image.int() - ours.int()).abs().amax(1)[edge]
            for image, ours in zip(images, (batch.input, batch.target), strict=True)
        ]
    ).float()
    return (
        f"on edges {off.mean():.1f} of 255 grey levels from ours on the average, "
        f"{off.flatten().quantile(0.99):.0f} at the 99th percentile, {off.max():.0f} at most"
    )


if __name__ == "__main__":
    sys.exit(main())
