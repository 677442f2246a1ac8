"""The fourteen operations and the two policies against torchvision's own, Pillow image by Pillow image: all exact."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

from archaeology.data.augment import rand_augment, trivial_augment
from archaeology.data.augment.operations import operated
from archaeology.data.augment.policy import (
    DRAWN,
    NUM_LEVELS,
    WIDE,
    reach_of_rand_augment,
    strengths,
)

THEIR_NAMES = {name: name.title().replace("_", "") for name in DRAWN} | {
    "saturation": "Color",
    "autocontrast": "AutoContrast",
}
BOTH = {"rand": RandAugment(), "trivial": TrivialAugmentWide()}


def some_images(batch: int, channel: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Noise between two levels of each channel; some channels are flat, some have few levels."""
    random = np.random.default_rng(seed)
    ends = np.sort(random.integers(0, 256, (2, batch, channel, 1, 1)), axis=0)
    pixels = random.integers(ends[0], ends[1], (batch, channel, height, width), endpoint=True)
    pixels[::7] = pixels[::7] // 64 * 64
    pixels[::11, 0] = 17
    return torch.from_numpy(pixels.astype(np.uint8))


def every_draw() -> tuple[Tensor, Tensor, Tensor]:
    """All operations at all levels, both ways."""
    grid = torch.meshgrid(torch.arange(2), torch.arange(NUM_LEVELS), torch.arange(len(DRAWN)), indexing="ij")
    is_negative, level, operation = (axis.flatten() for axis in grid)
    return operation, level, is_negative.bool()


def reference(policy: str, pixels: Tensor, name: str, level: int, is_negative: bool) -> Tensor:
    """One image changed by Pillow, as torchvision asks it to, at torchvision's strength."""
    theirs = BOTH[policy]
    height, width = pixels.shape[-2:]
    table, has_two_ways = theirs._AUGMENTATION_SPACE[THEIR_NAMES[name]]
    magnitudes = table(NUM_LEVELS, height, width)
    magnitude = 0.0 if magnitudes is None else float(magnitudes[level])
    picture = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())
    changed = theirs._apply_image_or_video_transform(
        picture,
        THEIR_NAMES[name],
        -magnitude if has_two_ways and is_negative else magnitude,
        InterpolationMode.NEAREST,
        theirs._fill,
    )
    result = torch.from_numpy(np.array(changed))
    return result[None] if result.ndim == 2 else result.permute(2, 0, 1)


@pytest.mark.parametrize(
    ("channel", "height", "width"),
    [(3, 32, 32), (3, 64, 64), (3, 15, 22), (1, 19, 16), (3, 2, 3), (3, 1, 1), (1, 1, 5)],
)
@pytest.mark.parametrize("policy", BOTH)
def test_each_operation_is_pillows_at_every_strength(
    policy: str, channel: int, height: int, width: int
) -> None:
    """All levels both ways, mixed in one batch: no pixel differs."""
    operation, level, is_negative = every_draw()
    images = some_images(len(operation), channel, height, width)
    before = images.clone()
    reach = WIDE if policy == "trivial" else reach_of_rand_augment((height, width))
    ours = operated(images, operation, strengths(reach, operation, level, is_negative))
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    drawn = zip(images, operation.tolist(), level.tolist(), is_negative.tolist(), strict=True)
    for mine, (image, place, step, sign) in zip(ours, drawn, strict=True):
        theirs = reference(policy, image, DRAWN[place], step, sign)
        assert torch.equal(mine, theirs), (DRAWN[place], step, sign)


@pytest.mark.parametrize(("num_ops", "magnitude"), [(2, 9), (3, 30), (1, 0)])
def test_rand_augment_equals_the_loop_over_images(num_ops: int, magnitude: int) -> None:
    images = some_images(23, 3, 17, 13)
    ours = rand_augment(images, torch.Generator().manual_seed(4), num_ops, magnitude)
    generator = torch.Generator().manual_seed(4)
    theirs = list(images)
    for _ in range(num_ops):
        operation = torch.randint(0, len(DRAWN), (23,), generator=generator).tolist()
        sign = torch.randint(0, 2, (23,), generator=generator).tolist()
        theirs = [
            reference("rand", image, DRAWN[operation[i]], magnitude, bool(sign[i]))
            for i, image in enumerate(theirs)
        ]
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=0)


def test_trivial_augment_equals_the_loop_over_images() -> None:
    images = some_images(67, 3, 17, 13)
    ours = trivial_augment(images, torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(4)
    operation = torch.randint(0, len(DRAWN), (67,), generator=generator).tolist()
    sign = torch.randint(0, 2, (67,), generator=generator).tolist()
    level = torch.randint(0, NUM_LEVELS, (67,), generator=generator).tolist()
    theirs = [
        reference("trivial", image, DRAWN[operation[i]], level[i], bool(sign[i]))
        for i, image in enumerate(images)
    ]
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=0)


def test_the_fourteen_operations_are_torchvisions() -> None:
    assert len(DRAWN) == 14
    for theirs in BOTH.values():
        assert {THEIR_NAMES[name] for name in DRAWN} == set(theirs._AUGMENTATION_SPACE)


def test_all_operations_strengths_and_ways_are_equally_likely() -> None:
    """Told from the pixels: one image, changed 28,000 times; which operation, level and way made each result."""
    image = some_images(1, 3, 9, 8, seed=1)
    operation, level, is_negative = every_draw()
    share = 1 / len(operation)
    cells: dict[bytes, float] = {}
    images = image.expand(len(operation), -1, -1, -1)
    for result in operated(images, operation, strengths(WIDE, operation, level, is_negative)):
        key = result.numpy().tobytes()
        cells[key] = cells.get(key, 0.0) + share
    changed = trivial_augment(image.expand(28_000, -1, -1, -1), torch.Generator().manual_seed(0))
    counts = dict.fromkeys(cells, 0)
    for one in changed:
        counts[one.numpy().tobytes()] += 1
    assert len(cells) > 200
    expected = np.array(list(cells.values())) * 28_000
    assert chisquare(np.array(list(counts.values())), expected).pvalue > 0.01


@pytest.mark.parametrize("policy", [rand_augment, trivial_augment])
def test_equal_images_part_ways_and_the_seed_decides(policy) -> None:
    images = some_images(1, 3, 16, 16).expand(64, -1, -1, -1)
    first = policy(images, torch.Generator().manual_seed(1))
    again = policy(images, torch.Generator().manual_seed(1))
    other = policy(images, torch.Generator().manual_seed(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)
    assert len(first.flatten(1).unique(dim=0)) > 30
    generator = torch.Generator().manual_seed(1)
    policy(images, generator)
    assert not torch.equal(first, policy(images, generator))


@pytest.mark.parametrize("policy", [rand_augment, trivial_augment])
@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches_and_the_global_generator_left_alone(policy, batch: int) -> None:
    state = torch.get_rng_state()
    images = some_images(3, 3, 7, 5)[:batch]
    changed = policy(images, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape and changed.dtype == torch.uint8
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)


def test_no_operations_change_nothing() -> None:
    images = some_images(5, 3, 7, 5)
    torch.testing.assert_close(rand_augment(images, torch.Generator(), num_ops=0), images, rtol=0, atol=0)


def test_what_cannot_be_is_refused() -> None:
    images = some_images(2, 3, 7, 5)
    with pytest.raises(ValueError, match=r"num_ops must be at least 0, but got num_ops=-1"):
        rand_augment(images, torch.Generator(), num_ops=-1)
    with pytest.raises(ValueError, match=r"magnitude must be a step from 0 to 30, but got magnitude=31"):
        rand_augment(images, torch.Generator(), magnitude=31)
    with pytest.raises(
        ValueError, match=r"images must have 1 or 3 channels, but got 2; leave colours and policy out"
    ):
        trivial_augment(images[:, :2], torch.Generator())
    with pytest.raises(ValueError, match=r"less than 8192 pixels high and wide, but got 8192x1; resize them"):
        trivial_augment(torch.zeros(1, 3, 8192, 1, dtype=torch.uint8), torch.Generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("policy", [rand_augment, trivial_augment])
def test_a_cpu_generator_gives_the_same_images_on_a_gpu(policy) -> None:
    images = some_images(700, 3, 19, 17)
    here = policy(images, torch.Generator().manual_seed(5))
    there = policy(images.cuda(), torch.Generator().manual_seed(5))
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0)
