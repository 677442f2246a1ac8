"""Several looks at each picture, large crops and small ones, so that a learner can ask what they have in common.

`caron2020unsupervised` (multi-crop), with the colours of `caron2021emerging`. Differs: no blur, as images are small.
"""

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from archaeology.core.shapes import PixelImage
from archaeology.data.augment.colour import colour
from archaeology.data.augment.draws import real
from archaeology.data.augment.filters import saturation
from archaeology.data.augment.levels import looked_up, solarize
from archaeology.data.augment.resized_crop import resized_crop

Views = UInt8[Tensor, "batch _ channel _ _"]  # images, views of one size, colours, rows and columns of pixels


@dataclass(frozen=True)
class MultiCrop:
    """Call it with images for their views.

    Attributes:
        num_large: Crops that show most of the image.
        num_small: Crops that show a small part of it; may be 0.
        large_size: Side of the large crops in pixels.
        small_size: Side of the small ones.
        large_share: Least and largest area of a large crop, as a share of the image's.
        small_share: Likewise of a small one.
        jitter: Share of views whose colours change.
        grey: Share of views without colours.
        solarize: Share of views whose bright levels are turned round; among the second large crops alone.
    """

    num_large: int = 2
    num_small: int = 4
    large_size: int = 32
    small_size: int = 16
    large_share: tuple[float, float] = (0.4, 1.0)
    small_share: tuple[float, float] = (0.1, 0.4)
    jitter: float = 0.8
    grey: float = 0.2
    solarize: float = 0.2

    def __call__(self, images: PixelImage, generator: torch.Generator) -> tuple[Views, ...]:
        """The large views of each image, then the small ones, if there are any."""
        large = [
            self._view(images, generator, self.large_size, self.large_share, number)
            for number in range(self.num_large)
        ]
        small = [
            self._view(images, generator, self.small_size, self.small_share, None)
            for _ in range(self.num_small)
        ]
        return tuple(torch.stack(views, dim=1) for views in (large, small) if views)

    def _view(
        self,
        images: PixelImage,
        generator: torch.Generator,
        size: int,
        share: tuple[float, float],
        number: int | None,
    ) -> UInt8[Tensor, "batch channel {size} {size}"]:
        view = resized_crop(images, generator, size, share=share)
        changed = colour(view, generator, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        view = some(self.jitter, changed, view, generator)
        view = some(self.grey, saturation(view, torch.zeros(len(view), dtype=torch.float64)), view, generator)
        if number == 1 and self.solarize:
            threshold = torch.full((len(view),), 128.0, dtype=torch.float64)
            view = some(self.solarize, looked_up(view, solarize(view, threshold)), view, generator)
        return view


def some(share: float, changed: PixelImage, otherwise: PixelImage, generator: torch.Generator) -> PixelImage:
    """Of each image the changed one with this chance, and otherwise the other."""
    is_changed = real(0.0, 1.0, (len(changed),), generator) < share
    return torch.where(is_changed.to(changed.device)[:, None, None, None], changed, otherwise)
