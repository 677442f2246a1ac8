"""A specimen is a model ready to be examined: it takes images in [0, 1] and says how its tokens are laid out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archaeology.core.shapes import Image, Logits, PixelImage
from archaeology.core.storage import sha256_of
from archaeology.specimens.layout import TokenLayout


@dataclass(frozen=True, eq=False)
class Specimen:
    """Any image classifier behind one face.

    Attributes:
        name: What the user called it, for example `timm:vit_base_patch16_224`.
        model: In evaluation mode; maps normalised images to logits.
        kind: "transformer" where it attends, else "convolutional" or "other".
        classes: Class names, in the order of the logits; empty where unknown.
        image_size: Height and width it was trained for, in pixels.
        mean: Per channel, of images in [0, 1].
        std: Per channel, of images in [0, 1].
        layout: Where the patches are among the tokens, or None for a model without tokens.
        crop_fraction: Share of the shorter side that its usual evaluation keeps (timm's `crop_pct`).
        target_layer: Module path that Grad-CAM looks at: the last one with a spatial map.
        facts: What its card says: recipe, data, accuracy and so on.
    """

    name: str
    model: nn.Module
    kind: Literal["transformer", "convolutional", "other"]
    classes: Sequence[str]
    image_size: tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    layout: TokenLayout | None = None
    crop_fraction: float = 1.0
    target_layer: str | None = None
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU if it has none."""
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))

    def prepare(self, images: Image | PixelImage) -> Image:
        """Images as the model eats them: on its device, in its size, normalised.

        Args:
            images: 8-bit images, or floats in [0, 1].

        Raises:
            ValueError: If they are not three-channel images or floats leave [0, 1].
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be (batch, 3, height, width), but got shape {tuple(images.shape)}."
            )
        images = images.to(self.device)
        if images.dtype == torch.uint8:
            images = images.float() / 255
        elif float(images.detach().amin()) < -1e-6 or float(images.detach().amax()) > 1 + 1e-6:
            raise ValueError(
                f"images must lie in [0, 1] (or be uint8), but got values from {float(images.detach().amin()):.3g} to "
                f"{float(images.detach().amax()):.3g}; divide by 255 and leave the normalisation to the specimen."
            )
        if tuple(images.shape[-2:]) != self.image_size:
            images = F.interpolate(images, self.image_size, mode="bicubic", antialias=True).clamp(0, 1)
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        return (images - mean) / std

    def predict(self, images: Image | PixelImage) -> Logits:
        """Logits for images in [0, 1] or 8 bit; differentiable in float images."""
        return self.model(self.prepare(images))

    def fingerprint(self) -> str:
        """Hex sha256 of all weights and buffers: two specimens with the same one predict the same."""
        parts: list[bytes | str] = []
        for name, tensor in sorted(self.model.state_dict().items()):
            if isinstance(tensor, Tensor):
                bytes_of = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                parts += [name, str(tuple(tensor.shape)), str(tensor.dtype), bytes_of]
        return sha256_of(*parts)
