"""Mixup and CutMix: each image is blended with another, or has a rectangle of it pasted in; its label is shared out.

After `zhang2018mixup` and `yun2019cutmix`. Differs: every image of a batch has its own share and its own rectangle,
where the papers draw one for the whole batch. Shares are drawn by the inverse of their distribution function, from
one uniform number each, so the caller's generator decides everything.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.core.shapes import Image, Label
from archaeology.data.augment.draws import real, whole
from archaeology.data.augment.erasing import within

Targets = Float[Tensor, "batch {num_classes}"]


def mix(
    images: Image,
    labels: Label,
    generator: torch.Generator,
    num_classes: int,
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    smoothing: float = 0.0,
) -> tuple[Image, Targets]:
    """Mix each image with another of the batch; with both ways asked for, a coin decides for each image.

    Args:
        images: Floating point, of any normalisation; not changed.
        labels: True classes, on the images' device.
        generator: Decides; one on the CPU draws the same for images on any device.
        num_classes: Width of the targets.
        mixup: Shares of blends are drawn from Beta(`mixup`, `mixup`): small numbers give shares near 0 and 1, 1 any
            share alike; 0 for no blends.
        cutmix: Likewise the area that is kept when a rectangle is pasted; it is cut off at the image's border.
        smoothing: Share of each target that is spread evenly over all classes.

    Returns:
        Mixed images, and the share of each class in each (for CutMix counted in pixels), which sum to one.

    Raises:
        ValueError: If an argument is out of range.
    """
    if min(mixup, cutmix) < 0 or not 0 <= smoothing < 1:
        raise ValueError(
            "mixup and cutmix must be at least 0, smoothing at least 0 and below 1, "
            f"but got {mixup=}, {cutmix=}, {smoothing=}."
        )
    if not mixup and not cutmix:
        everything = torch.ones(len(images), dtype=torch.float64, device=labels.device)
        return images, _targets(labels, labels, everything, num_classes, smoothing)
    height, width = images.shape[2:]
    partner = torch.randperm(len(images), generator=generator, device=generator.device).to(images.device)
    is_cut = _coin(mixup, cutmix, len(images), generator)
    alpha = torch.where(is_cut.bool(), cutmix, mixup)
    share = _beta(alpha, real(0.0, 1.0, (len(images),), generator))
    kept = share[:, None, None].to(images.device)
    if cutmix:
        box = _boxes(share, height, width, generator)
        outside = ~within(box.to(images.device), height, width)
        kept = torch.where(is_cut.bool()[:, None, None].to(images.device), outside, kept)
    mixed = torch.lerp(images.index_select(0, partner), images, kept[:, None].to(images.dtype))
    return mixed, _targets(labels, labels[partner], kept.mean((1, 2)), num_classes, smoothing)


def _coin(mixup: float, cutmix: float, batch: int, generator: torch.Generator) -> Int[Tensor, " batch"]:
    """1 where a rectangle is pasted, 0 where images are blended; drawn only if there is a choice."""
    return whole(int(not mixup), int(cutmix > 0), (batch,), generator)


def _beta(alpha: Float[Tensor, " batch"], uniform: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Numbers of Beta(alpha, alpha) from uniform ones."""
    from scipy.special import betaincinv  # heavy, and of use to mixing only

    shape = alpha.cpu().double().numpy()
    return torch.from_numpy(betaincinv(shape, shape, uniform.cpu().numpy())).to(uniform.device)


def _boxes(
    share: Float[Tensor, " batch"], height: int, width: int, generator: torch.Generator
) -> Int[Tensor, "batch 4"]:
    """Top, bottom, left and right of rectangles of area 1 - `share` around a random pixel, cut off at the border."""
    side = (1 - share).sqrt()
    down, right = whole(0, height - 1, share.shape, generator), whole(0, width - 1, share.shape, generator)
    half_height, half_width = ((side * length).long() // 2 for length in (height, width))
    ends = (down - half_height, down + half_height, right - half_width, right + half_width)
    limits = (height, height, width, width)
    return torch.stack([end.clamp(0, limit) for end, limit in zip(ends, limits, strict=True)], dim=1)


def _targets(
    labels: Label,
    partners: Label,
    share: Float[Tensor, " batch"],
    num_classes: int,
    smoothing: float,
) -> Targets:
    """`share` of each target for its label, the rest for its partner's, then smoothed."""
    targets = share.new_full((len(labels), num_classes), smoothing / num_classes)
    for classes, part in ((labels, share), (partners, 1 - share)):
        targets.scatter_add_(1, classes.long()[:, None], (part * (1 - smoothing))[:, None])
    return targets.float()
