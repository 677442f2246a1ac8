"""A U-Net: look at ever coarser maps of the image, then come back up, with the fine maps handed across.

`ronneberger2015convolutional`. Differs: convolutions are padded, so that the answer is as large as the image; maps are
normalised over the batch; and the way up stretches maps before it convolves, which leaves no checkerboard
(`odena2016deconvolution`). The first of its two convolutions comes before the stretching, where it costs a quarter.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.shapes import Image
from archaeology.models.registry import models
from archaeology.models.signal import calm


class Convolution(nn.Module):
    """Convolve 3 x 3 neighbourhoods, normalise, bend."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.activation = nn.GELU()

    def forward(
        self, maps: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out height width"]:
        """Maps of the same size."""
        return self.activation(self.norm(self.conv(maps)))


@models.register("unet")
class UNet(nn.Module):
    """Images in, images of the same size out, by convolutions at several sizes.

    Attributes:
        image_size: Height and width in pixels.
    """

    def __init__(self, image_size: int = 128, *, widths: Sequence[int] = (8, 16, 32, 64, 96, 128)) -> None:
        """Build with fresh weights; the first answers are near zero.

        Args:
            image_size: Side in pixels.
            widths: Channels at full size, at half of it, at a quarter, and so on.

        Raises:
            ValueError: If the image cannot be halved that many times.
        """
        super().__init__()
        if not widths or min(widths) < 1 or image_size < 1 or image_size % 2 ** (len(widths) - 1):
            raise ValueError(
                f"image_size must be divisible by 2 for each of the widths but the first, and widths positive, "
                f"but got {image_size=}, widths={tuple(widths)}; resize the images or leave out widths."
            )
        self.image_size = (image_size, image_size)
        self.stem = Convolution(3, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(Convolution(fine, coarse), Convolution(coarse, coarse))
            for fine, coarse in pairwise(widths)
        )
        pairs = list(reversed(list(pairwise(widths))))
        self.narrow = nn.ModuleList(Convolution(coarse, fine) for fine, coarse in pairs)
        self.up = nn.ModuleList(Convolution(2 * fine, fine) for fine, _ in pairs)
        self.head = nn.Conv2d(widths[0], 3, 3, padding=1)
        calm(self.head)

    def forward(self, images: Image) -> Image:
        """The images redrawn; values may leave [0, 1].

        Raises:
            ValueError: If the images have another size than the model was built for.
        """
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f"images must be {self.image_size} pixels, but got {tuple(images.shape[-2:])}; resize them."
            )
        # Channels last, which all maps inherit: several times faster in bfloat16 on a CPU.
        maps = self.stem(images.contiguous(memory_format=torch.channels_last))
        fine: list[Tensor] = []
        for block in self.down:
            fine.append(maps)
            maps = block(F.max_pool2d(maps, 2))
        for narrow, block in zip(self.narrow, self.up, strict=True):
            stretched = F.interpolate(narrow(maps), scale_factor=2, mode="nearest")
            maps = block(torch.cat([stretched, fine.pop()], dim=1))
        return self.head(maps)
