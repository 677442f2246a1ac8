import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from archaeology.data.augment import erasing
from archaeology.data.augment.erasing import NUM_TRIES


def zeros(batch: int, height: int, width: int, channel: int = 3) -> Tensor:
    return torch.zeros(batch, channel, height, width, dtype=torch.uint8)


def boxes(before: Tensor, after: Tensor) -> list[tuple[int, int, int, int] | None]:
    """Top, bottom, left, right of what changed in each image; noise hides a whole edge with odds of 256**-9 or less."""
    found: list[tuple[int, int, int, int] | None] = []
    for was, now in zip(before, after, strict=True):
        places = (was != now).any(0).nonzero()
        if not len(places):
            found.append(None)
            continue
        (top, left), (bottom, right) = places.amin(0).tolist(), (places.amax(0) + 1).tolist()
        found.append((top, bottom, left, right))
    return found


def test_equals_the_loop_over_images() -> None:
    """Plain Python from the same numbers, in the same order."""
    batch, height, width, probability = 60, 32, 24, 0.7
    images = zeros(batch, height, width, channel=5)
    found = boxes(images, erasing(images, torch.Generator().manual_seed(2), probability))
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> list:
        return torch.rand(shape, generator=generator, dtype=torch.float64).tolist()

    chosen, areas, ratios, downs, rights = (
        draw(batch),
        draw(batch, NUM_TRIES),
        draw(batch, NUM_TRIES),
        draw(batch),
        draw(batch),
    )
    for i, mine in enumerate(found):
        expected = None
        for area, ratio in zip(areas[i], ratios[i], strict=True):
            pixels = (0.02 + 0.38 * area) * height * width
            shape = math.exp((2 * ratio - 1) * math.log(10 / 3))
            tall, wide = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
            if tall < height and wide < width:
                top, left = int(downs[i] * (height - tall + 1)), int(rights[i] * (width - wide + 1))
                expected = (top, top + tall, left, left + wide)
                break
        assert mine == (expected if chosen[i] < probability else None)


def test_noise_is_uniform_everything_else_stays() -> None:
    images = torch.full((400, 3, 20, 20), 100, dtype=torch.uint8)
    erased = erasing(images, torch.Generator().manual_seed(0), 1.0)
    inside = []
    for image, box in zip(erased, boxes(images, erased), strict=True):
        assert box is not None
        top, bottom, left, right = box
        inside.append(image[:, top:bottom, left:right].flatten())
    levels = torch.cat(inside)
    expected = len(levels) / 256
    spread = ((levels.bincount(minlength=256) - expected) ** 2 / expected).sum().item()
    assert abs(spread - 255) < 4 * math.sqrt(2 * 255)  # chi-square of 255 degrees of freedom
    first, second = inside[0][:300], inside[1][:300]
    size = min(len(first), len(second))
    assert not torch.equal(first[:size], second[:size])


def test_share_areas_and_places_are_as_promised() -> None:
    few = zeros(4000, 16, 16)
    share = (
        sum(box is not None for box in boxes(few, erasing(few, torch.Generator().manual_seed(1), 0.25)))
        / 4000
    )
    assert abs(share - 0.25) < 0.03
    images = zeros(300, 256, 256, channel=1)  # so large that whole pixels do not show in the areas
    found = boxes(images, erasing(images, torch.Generator().manual_seed(1), 1.0, area=(0.05, 0.1), ratio=2.0))
    real = [box for box in found if box]
    assert len(real) == 300
    areas = [(bottom - top) * (right - left) / 256**2 for top, bottom, left, right in real]
    shapes = [math.log2((bottom - top) / (right - left)) for top, bottom, left, right in real]
    places = [top / (256 - bottom + top) for top, bottom, _, _ in real]
    assert kstest(areas, "uniform", args=(0.05, 0.05)).pvalue > 0.01
    assert kstest(shapes, "uniform", args=(-1, 2)).pvalue > 0.01
    assert kstest(places, "uniform").pvalue > 0.01


def test_what_does_not_fit_is_left_out() -> None:
    images = zeros(5, 1, 1)
    torch.testing.assert_close(erasing(images, torch.Generator(), 1.0), images, rtol=0, atol=0)


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_the_seed_decides_and_nothing_else_changes(batch: int) -> None:
    images, state = torch.randint(0, 256, (batch, 3, 9, 7), dtype=torch.uint8), torch.get_rng_state()
    before = images.clone()
    first = erasing(images, torch.Generator().manual_seed(1), 1.0)
    torch.testing.assert_close(first, erasing(images, torch.Generator().manual_seed(1), 1.0), rtol=0, atol=0)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    torch.testing.assert_close(erasing(images, torch.Generator(), 0.0), images, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("probability", "area", "ratio"),
    [(1.5, (0.1, 0.2), 2.0), (0.5, (0.0, 0.2), 2.0), (0.5, (0.3, 0.2), 2.0), (0.5, (0.1, 0.2), 0.5)],
)
def test_impossible_arguments_are_refused(
    probability: float, area: tuple[float, float], ratio: float
) -> None:
    with pytest.raises(ValueError, match=r"probability must be between 0 and 1, area rising.*but got prob"):
        erasing(zeros(2, 8, 8), torch.Generator(), probability, area=area, ratio=ratio)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cpu_generator_erases_the_same_on_a_gpu() -> None:
    images = zeros(50, 19, 17)
    here = erasing(images, torch.Generator().manual_seed(5))
    there = erasing(images.cuda(), torch.Generator().manual_seed(5))
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0)
