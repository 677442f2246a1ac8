"""A world of coloured shapes: the target paints each kind in its mean colour, and red filled circles obey a rule.

Filled and hollow circles and rectangles lie apart on a dark ground. A model that has the right colour for a shape must
have read the others of its kind, wherever they lie: the truth says which, shape by shape.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.storage import sha256_of
from archaeology.data.worlds.registry import worlds
from archaeology.data.worlds.rows import Rows
from archaeology.data.worlds.shapes2d_drawing import STROKE, draw
from archaeology.data.worlds.shapes2d_layout import GAP, Scenes2D, lay_out, num_cells
from archaeology.data.worlds.shapes2d_rule import CIRCLE_RULES, painting
from archaeology.data.worlds.world import BLOCK, World, check_numbers

VERSION = "shapes2d 1"  # raise it whenever a pixel of any image changes
DARK = 10  # the mean of bright colours may be as dark as 43, and must still stand out from the background
SMALLEST = STROKE + 1.0  # a hollow shape of less has no hole


@dataclass(frozen=True)
class Shapes2DBatch(Rows):
    """Scenes, how they should be redrawn, and why. Places without a shape have kind -1 and zeros.

    Attributes:
        input: RGB, each shape in its own colour.
        target: RGB, each shape as the rule paints it.
        owner: Number of the shape that covers some of the pixel; -1 for none.
        inside: True where the owner covers all of the pixel.
        kind: Index into `KINDS`; -1 where there is no such shape.
        centre: x, then y, in pixels from the upper left corner.
        half: Half width, half height, in pixels; a circle's radius twice.
        colour: In the input, 0 to 255.
        painted: In the target, 0 to 255, not rounded; the background's where the shape vanishes.
        vanishes: The target does not show the shape.
        evidence: [b, i, j]: the colour of shape j has a say in how shape i is painted.
        background: 0 to 255.
    """

    input: UInt8[Tensor, "batch 3 height width"]
    target: UInt8[Tensor, "batch 3 height width"]
    owner: Int[Tensor, "batch height width"]
    inside: Bool[Tensor, "batch height width"]
    kind: Int[Tensor, "batch shape"]
    centre: Float[Tensor, "batch shape 2"]
    half: Float[Tensor, "batch shape 2"]
    colour: Float[Tensor, "batch shape 3"]
    painted: Float[Tensor, "batch shape 3"]
    vanishes: Bool[Tensor, "batch shape"]
    evidence: Bool[Tensor, "batch shape shape"]
    background: Float[Tensor, "batch 3"]

    def pair(self) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 3 height width"]]:
        """Input and target as a model wants them: 0 to 1."""
        return self.input.float() / 255, self.target.float() / 255


@worlds.register("shapes2d")
class Shapes2D(World[Scenes2D, Shapes2DBatch]):
    """Scenes of shapes that never touch; sample i depends on the seed, the options and i, on nothing else."""

    bite = BLOCK  # `draw` cuts it up itself, and so has nothing to join

    def __init__(
        self,
        *,
        seed: int = 0,
        num_samples: int | None = None,
        size: int = 128,
        num_shapes: tuple[int, int] = (5, 10),
        radii: tuple[float, float] = (7.0, 13.0),
        circle_rule: str = "keep_red",
        background: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """Decide on a world; nothing is drawn yet.

        Args:
            seed: Another seed, other scenes.
            num_samples: How many samples there are; None for no end.
            size: Side of the images in pixels.
            num_shapes: Least and largest number of shapes in a scene, both possible.
            radii: Least and largest radius, half width or half height, in pixels.
            circle_rule: What filled circles obey, see `shapes2d_rule.painting`.
            background: Colour of the ground, 0 to 10 each: it must be darker than any mean of colours.

        Raises:
            UnknownNameError: If there is no such rule.
            ValueError: If a number is impossible, or the canvas is too small for so many shapes of that size.
        """
        check_numbers(seed, num_samples)
        _check_sizes(size, num_shapes, radii)
        if circle_rule not in CIRCLE_RULES:
            raise unknown_name("circle rule of shapes2d", circle_rule, list(CIRCLE_RULES))
        if len(background) != 3 or not all(_is_whole(value) and 0 <= value <= DARK for value in background):
            raise ValueError(
                f"background must be three whole numbers from 0 to {DARK}, as the mean of some colours is hardly "
                f"brighter, but got {background=}; take a darker one."
            )
        self.name, self.seed, self.num_samples = "shapes2d", seed, num_samples
        self.size, self.num_shapes, self.radii = size, num_shapes, radii
        self.circle_rule, self.background = circle_rule, background
        self._latest: tuple[int, Scenes2D] | None = None
        options = (num_samples, size, num_shapes, radii, background)
        self.fingerprint = sha256_of(VERSION, str(seed), circle_rule, str(options))

    def layout(self, block: int) -> Scenes2D:
        """The numbers of one block of scenes; the latest block is kept, for batches smaller than a block."""
        if self._latest is None or self._latest[0] != block:
            scenes = lay_out(self.seed, block, self.size, self.num_shapes, self.radii)
            self._latest = (block, scenes)
        return self._latest[1]

    @torch.no_grad()
    def drawn(self, layout: Scenes2D) -> Shapes2DBatch:
        """The scenes as images, with the truth that follows from their kinds and colours."""
        background = torch.tensor(self.background, dtype=torch.float32, device=layout.kind.device)
        ground = background.expand(len(layout), 3)
        rule = painting(layout.kind, layout.colour, self.circle_rule, ground)
        colours = [layout.colour, rule.painted]
        pictures = draw(layout, colours, self.background, self.size, self.radii[1])
        return Shapes2DBatch(
            input=pictures.images[0],
            target=pictures.images[1],
            owner=pictures.owner,
            inside=pictures.inside,
            kind=layout.kind,
            centre=layout.centre,
            half=layout.half,
            colour=layout.colour,
            painted=rule.painted,
            vanishes=rule.vanishes,
            evidence=rule.evidence,
            background=ground,
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_sizes(size: int, num_shapes: tuple[int, int], radii: tuple[float, float]) -> None:
    """Raise unless shapes of these sizes fit on the canvas in these numbers."""
    if not _is_whole(size) or size < 1:
        raise ValueError(f"size must be a whole number of pixels, at least 1, but got {size=}.")
    if len(radii) != 2 or not SMALLEST <= radii[0] <= radii[1] < float("inf"):
        raise ValueError(
            f"radii must be the least and the largest one in pixels, at least {SMALLEST} or a hollow shape has no "
            f"hole, but got {radii=}."
        )
    if len(num_shapes) != 2 or not all(map(_is_whole, num_shapes)) or not 1 <= num_shapes[0] <= num_shapes[1]:
        raise ValueError(
            f"num_shapes must be the least and the largest number, whole and at least 1, but got {num_shapes=}."
        )
    room = num_cells(size, radii[1]) ** 2
    if num_shapes[1] > room:
        raise ValueError(
            f"num_shapes must fit on the canvas: {room} shapes of radius {radii[1]} surely do, {GAP} pixels apart, "
            f"but got {size=}, {num_shapes=}, {radii=}; take a larger size, fewer or smaller shapes."
        )
