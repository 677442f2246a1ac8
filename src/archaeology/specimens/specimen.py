"""A specimen is a model ready to be examined: it takes images in [0, 1] and says where its tokens lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.shapes import Image, Logits, PixelImage
from archaeology.core.storage import plain_json, sha256_of
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

    @property
    def dtype(self) -> torch.dtype:
        """Precision of its weights; float32 if it has none."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    @property
    def num_parameters(self) -> int:
        """Numbers that were trained (or would be)."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def prepare(self, images: Image | PixelImage) -> Float[Tensor, "batch channel model_height model_width"]:
        """Images as the model eats them: on its device, in its size and precision, normalised.

        Args:
            images: 8-bit images, or floats in [0, 1].

        Raises:
            ValueError: If they are not three-channel images or floats leave [0, 1].
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0:
            raise ValueError(
                "images must be (batch, 3, height, width) and at least one, but got shape "
                f"{tuple(images.shape)}; add a batch axis with images[None], or repeat grey images to three "
                "channels."
            )
        images = self._in_unit_range(images.to(self.device))
        if tuple(images.shape[-2:]) != self.image_size:
            images = F.interpolate(images, self.image_size, mode="bicubic", antialias=True).clamp(0, 1)
        return self.normalise(images)

    def normalise(self, images: Image) -> Float[Tensor, "batch channel height width"]:
        """Images in [0, 1] as the model eats them, in whatever size they have."""
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        return ((images - mean) / std).to(self.dtype)

    def _in_unit_range(self, images: Image | PixelImage) -> Image:
        if images.dtype == torch.uint8:
            return images.float() / 255
        if not images.is_floating_point():
            raise ValueError(
                f"images must be uint8 or floating point, but got {images.dtype}; use images.to(torch.uint8)."
            )
        low, high = (float(edge) for edge in images.detach().aminmax())
        if not (low >= -1e-6 and high <= 1 + 1e-6):  # also false for NaN
            raise ValueError(
                f"images must lie in [0, 1] (or be uint8), but got values from {low:.3g} to {high:.3g}; "
                "divide by 255 and leave the normalisation to the specimen."
            )
        return images

    def predict(self, images: Image | PixelImage) -> Logits:
        """Logits for images in [0, 1] or 8 bit; differentiable in float images."""
        return self.model(self.prepare(images))

    def fingerprint(self) -> str:
        """Hex sha256 of weights, buffers and preparation: the same one means the same predictions."""
        parts: list[bytes | str] = [repr((self.image_size, self.mean, self.std, self.layout))]
        for name, tensor in sorted(self.model.state_dict().items()):
            if isinstance(tensor, Tensor):
                bytes_of = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                parts += [name, str(tuple(tensor.shape)), str(tensor.dtype), bytes_of]
        return sha256_of(*parts)

    def describe(self) -> dict[str, object]:
        """What a run keeps of the model, ready for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "classes": list(self.classes),
            "image_size": list(self.image_size),
            "mean": list(self.mean),
            "std": list(self.std),
            "crop_fraction": self.crop_fraction,
            "fingerprint": self.fingerprint(),
            "num_parameters": self.num_parameters,
            "layout": None if self.layout is None else self.layout.describe(),
            "target_layer": self.target_layer,
            "facts": plain_json(self.facts),
        }
