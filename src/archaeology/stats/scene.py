"""What lies where in an image, patch by patch: edges, colours, and how much of the patch belongs to the object.

So that what a head looks at can be compared with what there is to see.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.layout import TokenLayout

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what JPEG calls brightness
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
NO_EDGE = 1e-6  # energies below are rounding

PerPatch = Float[Tensor, "batch patch"]


@dataclass(frozen=True, eq=False)
class Scene:
    """Images on the grid of their patches, patches counted row by row.

    Attributes:
        edges: Mean length of the brightness gradient in each patch.
        colours: Mean colour of each patch, channels in [0, 1].
        inside: Share of each patch that belongs to the object, in [0, 1]; NaN for images where that is not known.
    """

    edges: PerPatch
    colours: Float[Tensor, "batch patch channel"]
    inside: PerPatch

    def part(self, start: int, stop: int) -> "Scene":
        """Some of the images."""
        return Scene(self.edges[start:stop], self.colours[start:stop], self.inside[start:stop])


def scene_of(
    images: Image | PixelImage,
    layout: TokenLayout,
    boxes: Tensor | None = None,
    masks: Tensor | None = None,
) -> Scene:
    """Edges, colours and objects of images on the patch grid of a model.

    Args:
        images: In [0, 1] or 8 bit, of any size.
        layout: Says how many rows and columns of patches there are.
        boxes: (image, 4): x_min, y_min, x_max, y_max in pixels of `images`; NaN where unknown.
        masks: (image, height, width): True on the object; nowhere true where unknown.

    Raises:
        ValueError: If boxes or masks do not fit the images, or both are given.
    """
    pixels = images.double() / 255 if images.dtype == torch.uint8 else images.double()
    grid = (layout.rows, layout.columns)
    if boxes is not None and masks is not None:
        raise ValueError("boxes and masks both say where the object is, but got both; give one of them.")
    inside = torch.full((len(images), layout.num_patches), torch.nan, dtype=torch.float64)
    if boxes is not None:
        inside = inside_boxes(boxes, (images.shape[2], images.shape[3]), grid)
    if masks is not None:
        inside = inside_masks(masks, (images.shape[2], images.shape[3]), grid)
    if len(inside) != len(images):
        raise ValueError(
            f"boxes or masks must be as many as images, but got {len(inside)} for {len(images)} images; leave NaN "
            "(boxes) or False (masks) where the object is unknown."
        )
    colours = F.adaptive_avg_pool2d(pixels, grid).flatten(2).mT
    return Scene(edge_energy(pixels, grid), colours, inside.to(pixels.device))


def edge_energy(pixels: Float[Tensor, "batch channel height width"], grid: tuple[int, int]) -> PerPatch:
    """Mean length of the Sobel gradient of the brightness, per patch; borders are repeated outwards.

    A step from black to white along a straight line gives 1 on the two columns of pixels beside it.

    References:
        `sobel1968isotropic`. Differs: divided by 4, so that a gradient is in brightness per two pixels.
    """
    luma = torch.tensor(LUMA, dtype=pixels.dtype, device=pixels.device)
    brightness = torch.einsum("bchw,c->bhw", pixels, luma)[:, None]
    across = torch.tensor(SOBEL, dtype=pixels.dtype, device=pixels.device) / 4
    padded = F.pad(brightness, (1, 1, 1, 1), mode="replicate")
    gradient = F.conv2d(padded, torch.stack([across, across.T])[:, None])
    energy = F.adaptive_avg_pool2d(torch.linalg.vector_norm(gradient, dim=1), grid).flatten(1)
    return energy.masked_fill(energy < NO_EDGE, 0)


def inside_boxes(boxes: Tensor, image_size: tuple[int, int], grid: tuple[int, int]) -> PerPatch:
    """Share of each patch's area inside the box; NaN for images without one.

    Args:
        boxes: (image, 4): x_min, y_min, x_max, y_max in pixels; NaN where unknown.
        image_size: Height and width of the images they are in.
        grid: Rows and columns of patches.

    Raises:
        ValueError: If boxes are not four numbers each, or an edge lies beyond its opposite.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            "boxes must be (image, 4): x_min, y_min, x_max, y_max in pixels, but got shape "
            f"{tuple(boxes.shape)}; one box for each image."
        )
    boxes = boxes.double()
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError(
            "boxes must have x_min <= x_max and y_min <= y_max, but some do not; are they (x, y, width, height)?"
        )
    across = _overlap(boxes[:, 0], boxes[:, 2], image_size[1], grid[1])
    down = _overlap(boxes[:, 1], boxes[:, 3], image_size[0], grid[0])
    return (down[:, :, None] * across[:, None]).flatten(1)


def _overlap(
    low: Float[Tensor, " batch"], high: Float[Tensor, " batch"], length: int, cells: int
) -> Float[Tensor, "batch cell"]:
    """Share of each of `cells` equal parts of [0, length] that lies in [low, high]."""
    edges = torch.arange(cells + 1, dtype=torch.float64, device=low.device) * length / cells
    covered = torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])
    return covered.clamp(min=0) * cells / length


def inside_masks(masks: Tensor, image_size: tuple[int, int], grid: tuple[int, int]) -> PerPatch:
    """Share of each patch's pixels that the mask covers; NaN for images whose mask is empty.

    Raises:
        ValueError: If masks are not of the size of the images.
    """
    if masks.ndim != 3 or tuple(masks.shape[1:]) != image_size:
        raise ValueError(
            f"masks must be (image, height, width) of the images, {image_size}, but got shape {tuple(masks.shape)}; "
            "resize them with the images."
        )
    inside = F.adaptive_avg_pool2d(masks.double()[:, None], grid).flatten(1)
    return inside.masked_fill(~masks.flatten(1).any(1, keepdim=True), torch.nan)
