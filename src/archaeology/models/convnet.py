"""A small convolutional network: look at 3 x 3 neighbourhoods, pool, and look again, ever wider.

After airbench (`jordan2024airbench`): a frozen whitening layer, groups of two convolutions, weights that start as the
identity (`zagoruyko2017diracnets`), global maximum, scaled logits. Differs: sizes are arguments.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.shapes import Image, Logits
from archaeology.models.registry import models


class Group(nn.Module):
    """Convolve, halve the map, normalise; then convolve once more."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.activation = nn.GELU()
        for convolution in (self.conv1, self.conv2):
            nn.init.dirac_(convolution.weight[: convolution.in_channels])

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out half_height half_width"]:
        """Maps of half the size."""
        maps = self.activation(self.norm1(self.pool(self.conv1(maps))))
        return self.activation(self.norm2(self.conv2(maps)))


@models.register("convnet")
class ConvNet(nn.Module):
    """Whitening layer, groups of convolutions, global maximum, linear head; images come normalised."""

    def __init__(
        self, image_size: int = 32, num_classes: int = 10, *, widths: Sequence[int] = (48, 128, 128)
    ) -> None:
        """Build with fresh weights.

        Args:
            image_size: Side in pixels; every group halves the map.
            num_classes: Logits.
            widths: Channels of each group.

        Raises:
            ValueError: If the image is too small for that many groups.
        """
        super().__init__()
        if not widths or (image_size - 1) >> len(widths) < 1:
            raise ValueError(
                f"image_size must leave a map after halving it {len(widths)} times, but got {image_size=}, {widths=}."
            )
        self.image_size = (image_size, image_size)
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        self.activation = nn.GELU()
        pairs = zip((24, *widths), widths, strict=False)
        self.groups = nn.ModuleList(Group(channels_in, channels_out) for channels_in, channels_out in pairs)
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        # Grad-CAM reads the last map there is, what the global maximum is taken of.
        self.target_layer = f"groups.{len(widths) - 1}"

    def forward(self, images: Image) -> Logits:
        """Logits of normalised images."""
        maps = self.activation(self.whiten(images))
        for group in self.groups:
            maps = group(maps)
        return self.head(maps.amax(dim=(2, 3))) / 9

    @torch.no_grad()
    def whiten_pixels(self, images: Image, *, epsilon: float = 5e-4) -> None:
        """Set the frozen first layer to the whitening of 2 x 2 neighbourhoods and its negative.

        Args:
            images: A few thousand normalised training images.
            epsilon: Added to the variances, so that noise directions are not blown up.
        """
        neighbourhoods = nn.functional.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
        variances, directions = torch.linalg.eigh(neighbourhoods.T @ neighbourhoods / len(neighbourhoods))
        whitening = (directions / (variances + epsilon).sqrt()).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([whitening, -whitening]))
