"""Colour jitter: Pillow's pixels image by image; hue against Python's own colour circle, in double precision."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare, kstest
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from archaeology.data.augment import colour
from archaeology.data.augment.draws import real
from archaeology.data.augment.filters import hue


def some_images(batch: int, channel: int = 3, height: int = 13, width: int = 11, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(0, 256, (batch, channel, height, width), dtype=np.uint8))


def turned(pixels: Tensor, turn: float) -> Tensor:
    """Every pixel through `colorsys`, rounded to the nearest level."""
    result = torch.empty_like(pixels)
    for row in range(pixels.shape[1]):
        for column in range(pixels.shape[2]):
            circle, saturation, value = colorsys.rgb_to_hsv(*(pixels[:, row, column] / 255).double().tolist())
            back = colorsys.hsv_to_rgb((circle + turn) % 1.0, saturation, value)
            result[:, row, column] = (torch.tensor(back, dtype=torch.float64) * 255).round().byte()
    return result


def pillow(change, pixels: Tensor, factor: float) -> Tensor:
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    return torch.from_numpy(np.array(change(picture, factor))).permute(2, 0, 1)


CHANGES = {
    "brightness": lambda pixels, factor: pillow(V.adjust_brightness, pixels, factor),
    "contrast": lambda pixels, factor: pillow(V.adjust_contrast, pixels, factor),
    "saturation": lambda pixels, factor: pillow(V.adjust_saturation, pixels, factor),
    "hue": turned,
}


@pytest.mark.parametrize(
    "amounts",
    [
        {"brightness": 0.4, "contrast": 0.3, "saturation": 0.7},
        {"contrast": 1.5},
        {"brightness": 0.2, "contrast": 0.9, "saturation": 0.4, "hue": 0.5},
    ],
)
def test_equals_the_loop_over_images(amounts: dict[str, float]) -> None:
    """Same numbers, each image in its own order: not one level differs."""
    images, batch = some_images(17), 17
    ours = colour(images, torch.Generator().manual_seed(3), **amounts)
    generator = torch.Generator().manual_seed(3)
    factors = {}
    for name, amount in amounts.items():
        low, high = (-amount, amount) if name == "hue" else (max(0.0, 1 - amount), 1 + amount)
        factors[name] = real(low, high, (batch,), generator).tolist()
    orders = real(0.0, 1.0, (batch, len(amounts)), generator).argsort(dim=1).tolist()
    for i, order in enumerate(orders):
        expected = images[i]
        for place in order:
            name = list(amounts)[place]
            expected = CHANGES[name](expected, factors[name][i])
        torch.testing.assert_close(ours[i], expected, rtol=0, atol=0)


def test_hue_is_within_one_level_of_torchvision() -> None:
    """It rounds 255.999 times a level down where we round to the nearest."""
    images = some_images(40, height=32, width=32)
    turns = torch.linspace(-0.5, 0.5, 40, dtype=torch.float64)
    ours = hue(images, turns)
    theirs = torch.stack(
        [V.adjust_hue(image, turn) for image, turn in zip(images, turns.tolist(), strict=True)]
    )
    apart = (ours.int() - theirs.int()).abs()
    assert apart.max() == 1 and (apart == 0).float().mean() > 0.6


def test_hue_keeps_greys_and_a_third_of_a_turn_moves_channels_on() -> None:
    images = some_images(4)
    greys = images[:, :1].expand(-1, 3, -1, -1)
    turns = torch.tensor([0.1, -0.3, 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(hue(greys, turns), greys, rtol=0, atol=0)
    third = torch.full((4,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(hue(images, third), images.roll(1, dims=1), rtol=0, atol=0)


def test_factors_are_uniform_and_every_order_is_as_likely() -> None:
    """The factor is read off a flat image; the order off an image that brightness saturates."""
    flat = torch.full((4000, 3, 1, 1), 200, dtype=torch.uint8)
    bright = colour(flat, torch.Generator().manual_seed(0), brightness=0.2)[:, 0, 0, 0] / 200
    assert kstest(bright.numpy(), "uniform", args=(0.8 - 0.0025, 0.4)).pvalue > 0.01
    image = some_images(1).expand(6000, -1, -1, -1)
    generator = torch.Generator().manual_seed(1)
    changed = colour(image, generator, brightness=0.5, contrast=0.5, saturation=0.5)
    again = torch.Generator().manual_seed(1)
    for _ in range(3):
        real(0.0, 1.0, (6000,), again)
    orders = real(0.0, 1.0, (6000, 3), again).argsort(dim=1)
    counts = (orders * torch.tensor([9, 3, 1])).sum(1).unique(return_counts=True)[1]
    assert chisquare(counts.numpy()).pvalue > 0.01 and len(counts) == 6
    assert len(changed.flatten(1).unique(dim=0)) == 6000


def test_one_channel_has_no_saturation_and_no_hue() -> None:
    images = some_images(5, channel=1)
    changed = colour(images, torch.Generator().manual_seed(0), saturation=0.5, hue=0.5)
    torch.testing.assert_close(changed, images, rtol=0, atol=0)


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches_the_seed_and_what_is_left_alone(batch: int) -> None:
    images, state = some_images(batch), torch.get_rng_state()
    before = images.clone()
    amounts = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.1}
    first = colour(images, torch.Generator().manual_seed(1), **amounts)
    torch.testing.assert_close(
        first, colour(images, torch.Generator().manual_seed(1), **amounts), rtol=0, atol=0
    )
    assert first.shape == images.shape and first.dtype == torch.uint8
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    torch.testing.assert_close(colour(images, torch.Generator()), images, rtol=0, atol=0)


@pytest.mark.parametrize("amounts", [{"contrast": -0.1}, {"hue": 0.6}])
def test_impossible_amounts_are_refused(amounts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"amounts must be at least 0, hue at most 0\.5, but got"):
        colour(some_images(2), torch.Generator(), **amounts)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cpu_generator_gives_the_same_colours_on_a_gpu() -> None:
    images = some_images(200)
    amounts = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.3}
    here = colour(images, torch.Generator().manual_seed(5), **amounts)
    there = colour(images.cuda(), torch.Generator().manual_seed(5), **amounts)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0)
