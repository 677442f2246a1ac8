"""What a training does to its images, in one object: crop and mirror, colours, policy, erasing, and mixing."""

from dataclasses import dataclass

import torch

from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.data.augment.colour import colour
from archaeology.data.augment.crop import crop_and_flip
from archaeology.data.augment.erasing import erasing
from archaeology.data.augment.mix import Targets, mix
from archaeology.data.augment.policy import rand_augment, trivial_augment

POLICIES = ("none", "rand", "trivial")


@dataclass(frozen=True)
class Augmentation:
    """Augment pixels by calling it, then mix the normalised images with `mix`.

    Attributes:
        crop_padding: Largest shift in pixels, reflected at the border; 0 for none.
        flip: Whether half of the images are mirrored.
        policy: none, rand (RandAugment) or trivial (TrivialAugment, wide).
        num_ops: Changes of RandAugment, one after another.
        magnitude: Strength of RandAugment, 0 to 30.
        colour: Jitter of brightness, contrast and saturation, each by a factor of 1 - `colour` to 1 + `colour`.
        hue: Jitter of hue, as a share of the colour circle, at most 0.5.
        erasing: Share of the images that lose a rectangle.
        mixup: Both parameters of the Beta distribution that blends are drawn from; 0 for none.
        cutmix: Likewise for pasted rectangles; with both, a coin decides for each image.
        smoothing: Label smoothing of the targets that `mix` returns.

    Raises:
        ValueError: If the policy is unknown; what is out of range is refused when it is used.
    """

    crop_padding: int = 4
    flip: bool = True
    policy: str = "none"
    num_ops: int = 2
    magnitude: int = 9
    colour: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, but got policy={self.policy!r}.")

    def __call__(self, images: PixelImage, generator: torch.Generator) -> PixelImage:
        """Changed images of the same shape on the same device; what is switched off costs nothing."""
        if self.crop_padding or self.flip:
            images = crop_and_flip(images, generator, self.crop_padding, flip=self.flip)
        if self.colour or self.hue:
            amounts = dict.fromkeys(("brightness", "contrast", "saturation"), self.colour)
            images = colour(images, generator, **amounts, hue=self.hue)
        if self.policy == "rand":
            images = rand_augment(images, generator, self.num_ops, self.magnitude)
        elif self.policy == "trivial":
            images = trivial_augment(images, generator)
        if self.erasing:
            images = erasing(images, generator, self.erasing)
        return images

    def mix(
        self, images: Image, labels: Label, generator: torch.Generator, num_classes: int
    ) -> tuple[Image, Targets]:
        """Normalised images after Mixup and CutMix, and their soft targets [batch class]; see `mix`."""
        return mix(
            images,
            labels,
            generator,
            num_classes,
            mixup=self.mixup,
            cutmix=self.cutmix,
            smoothing=self.smoothing,
        )
