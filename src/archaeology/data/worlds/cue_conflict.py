"""A world of textured shapes in which we decide which cue tells the truth.

One object (8 shapes) filled with one of 8 textures lies on clutter; the label is the shape. In `aligned`
every shape wears its own texture, in `random` any texture, in `conflict` always another shape's: what a model
then answers shows which cue it read. After `geirhos2019imagenet`. Differs: drawn, not made by style transfer,
so shape, texture and mask are known by construction, and image i of all three splits is the same scene in
another texture.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.storage import sha256_of
from archaeology.data.source import Sample
from archaeology.data.worlds.captions import caption
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES, TEXTURE_NAMES, Scenes, draw_scenes, render
from archaeology.data.worlds.registry import worlds
from archaeology.data.worlds.rows import Rows
from archaeology.data.worlds.world import BLOCK, World, check_numbers

VERSION = "cue_conflict 1"  # raise it whenever a pixel of any image changes
SPLITS = ("aligned", "random", "conflict")


@dataclass(frozen=True)
class CueBatch(Rows):
    """Images and the truth about them.

    Attributes:
        images: RGB.
        shape: Index into `CueConflict.classes`; the label.
        texture: Index into `CueConflict.textures`; texture k belongs to shape k.
        mask: True where the object covers at least half of the pixel.
        centre: Middle of the object, x then y, in pixels from the upper left corner.
        radius: Of the disc with the object's area, in pixels.
        rotation: Of the object, clockwise, in radians.
    """

    images: UInt8[Tensor, "batch channel height width"]
    shape: Int[Tensor, " batch"]
    texture: Int[Tensor, " batch"]
    mask: Bool[Tensor, "batch height width"]
    centre: Float[Tensor, "batch 2"]
    radius: Float[Tensor, " batch"]
    rotation: Float[Tensor, " batch"]

    def captions(self) -> list[str]:
        """What each image shows, in words: "a striped triangle, upper left"."""
        height, width = self.images.shape[-2:]
        return [
            caption(SHAPE_NAMES[shape], TEXTURE_NAMES[texture], x / width, y / height)
            for shape, texture, (x, y) in zip(
                self.shape.tolist(), self.texture.tolist(), self.centre.tolist(), strict=True
            )
        ]


@worlds.register("cue_conflict")
class CueConflict(World[Scenes, CueBatch]):
    """An `ImageSource` of generated scenes; image i depends on (seed, split, size, i) and on nothing else.

    Evaluation uses seed 0, the default; train with other seeds and no training image is ever judged.
    """

    def __init__(
        self, split: str = "aligned", *, seed: int = 0, num_images: int = 10_000, size: int = 64
    ) -> None:
        """Decide on a world; nothing is drawn yet.

        Args:
            split: "aligned", "random" or "conflict".
            seed: Another seed, other scenes.
            num_images: How many images the source has; more of them leave the first ones as they are.
            size: Side of the images in pixels, at least 16.

        Raises:
            ValueError: If the split is unknown or a number impossible.
        """
        if split not in SPLITS:
            raise unknown_name("split of cue_conflict", split, list(SPLITS))
        if num_images < 1:
            raise ValueError(f"num_images must be at least 1, but got {num_images=}.")
        check_numbers(seed, num_images)
        if size < 16:
            raise ValueError(f"size must be at least 16 pixels, or no shape can be told, but got {size=}.")
        self.name, self.split = "cue_conflict", split
        self.seed, self.num_images, self.num_samples, self.size = seed, num_images, num_images, size
        self.classes: tuple[str, ...] = SHAPE_NAMES
        self.textures: tuple[str, ...] = TEXTURE_NAMES
        self.fingerprint = sha256_of(VERSION, split, str(seed), str(num_images), str(size))
        self._latest: tuple[int, CueBatch] | None = None

    def __len__(self) -> int:
        return self.num_images

    def image_id(self, index: int) -> str:
        """Split, seed and number, for example `conflict-0-00042`."""
        return f"{self.split}-{self.seed}-{self._checked(index):05d}"

    def labels(self) -> list[int | None]:
        """The shapes of all images, without drawing any."""
        blocks = range(-(-self.num_images // BLOCK))
        shapes = torch.cat([draw_scenes(self.seed, self.split, block).shape for block in blocks])
        return shapes[: self.num_images].tolist()

    def get(self, index: int) -> Sample:
        """Image `index`; its whole block is drawn and kept, so reading in order is as fast as `generate`.

        Raises:
            IndexError: If there is no such image.
        """
        block, place = divmod(self._checked(index), BLOCK)
        if self._latest is None or self._latest[0] != block:
            count = min(BLOCK, self.num_images - block * BLOCK)
            self._latest = (block, self.generate(block * BLOCK, count))
        batch = self._latest[1]
        mask = batch.mask[place]
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        x_min, y_min, x_max, y_max = (float(edge) for edge in box)
        return Sample(batch.images[place], int(batch.shape[place]), (x_min, y_min, x_max, y_max), mask)

    def layout(self, block: int) -> Scenes:
        """The numbers of one block of scenes."""
        return draw_scenes(self.seed, self.split, block)

    def drawn(self, layout: Scenes) -> CueBatch:
        """The scenes as images."""
        images, mask = render(layout, self.size)
        centre, radius = layout.centre * self.size, layout.radius * self.size
        return CueBatch(images, layout.shape, layout.texture, mask, centre, radius, layout.rotation)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.num_images:
            raise IndexError(f"index must be 0 to {self.num_images - 1}, but got {index}.")
        return index
