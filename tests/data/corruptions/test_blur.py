import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from archaeology.data.corruptions import corrupt
from archaeology.data.corruptions.blur import disc, seen_through_glass
from archaeology.data.corruptions.motion import moved
from archaeology.data.corruptions.smoothing import smoothed
from archaeology.data.corruptions.zoom import zoomed

Pictures = Callable[..., Tensor]


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.4, 1.5, 6.0, 60.0])
@pytest.mark.parametrize(("border", "truncate"), [("nearest", 4.0), ("reflect", 3.0)])
def test_smoothing_is_scipys_also_wider_than_the_image(
    sigma: float, border: str, truncate: float, pictures: Pictures
) -> None:
    images = pictures(2, 37, 33)
    wanted = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode=border, truncate=truncate)
    torch.testing.assert_close(
        smoothed(images, sigma, truncate=truncate, border=border), torch.from_numpy(wanted)
    )


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.13, 1.31, 2.25, 4.5])
@pytest.mark.parametrize("size", [(32, 32), (37, 45)])
def test_zooming_is_scipys_of_the_middle(factor: float, size: tuple[int, int], pictures: Pictures) -> None:
    images = pictures(2, *size)
    height, width = size
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = images.numpy()[:, :, top : top + rows, left : left + columns]
    large = ndimage.zoom(part, (1, 1, factor, factor), order=1)
    top, left = (large.shape[2] - height) // 2, (large.shape[3] - width) // 2
    wanted = torch.from_numpy(large[:, :, top : top + height, left : left + width])
    torch.testing.assert_close(zoomed(images, factor), wanted)


def test_zoom_blur_is_a_mean_over_enlargements(pictures: Pictures) -> None:
    images = pictures(2, 90, 93)
    layers = [
        images,
        *(zoomed(images, 1 + 0.02 * step) for step in range(11)),
    ]  # severity 3: 1 to 1.2 by 0.02
    torch.testing.assert_close(corrupt(images, "zoom_blur", 3), torch.stack(layers).mean(0))


@pytest.mark.parametrize("severity", [1, 4, 5])
def test_defocus_spreads_a_point_into_a_disc(severity: int) -> None:
    image = torch.zeros(1, 1, 91, 89, dtype=torch.float64)
    image[0, 0, 45, 44] = 1
    made = corrupt(image, "defocus_blur", severity)[0, 0]
    radius = {1: 3, 4: 8, 5: 10}[severity]
    assert float(made.sum()) == pytest.approx(
        1, abs=0.015
    )  # as published: the softened disc is a little too bright
    row, column = np.mgrid[:91, :89]
    distance = np.hypot(row - 45, column - 44)
    assert (made[torch.from_numpy(distance > radius + 3)] == 0).all()
    area = (distance <= radius).sum()
    inner = made[torch.from_numpy(distance < radius - 3)]
    torch.testing.assert_close(inner, torch.full_like(inner, 1 / area), rtol=0.002, atol=0)


@pytest.mark.parametrize(("radius", "softness"), [(0.3, 0.4), (1.5, 0.1), (3, 0.1), (8, 0.5), (10, 0.5)])
def test_the_disc_is_opencvs(radius: float, softness: float) -> None:
    cv2 = pytest.importorskip("cv2")
    half, side = (8, 3) if radius <= 8 else (radius, 5)
    line = np.arange(-half, half + 1)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    wanted = cv2.GaussianBlur(inside / inside.sum(), ksize=(side, side), sigmaX=softness)
    made = disc(float(radius), softness)
    rim = (len(wanted) - len(made)) // 2
    padded = torch.nn.functional.pad(made, (rim, rim, rim, rim))
    torch.testing.assert_close(padded, torch.from_numpy(wanted), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_copies_pixels_one_after_the_other(reach: int) -> None:
    height, width = 17, 13
    generator = torch.Generator().manual_seed(reach)
    down, right = torch.randint(-reach, reach, (2, 3, height, width), generator=generator).unbind(0)
    made = seen_through_glass(down, right, reach)
    for i in range(3):
        shown = np.arange(height * width).reshape(height, width)
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                shown[row, column] = shown[row + down[i, row, column], column + right[i, row, column]]
        torch.testing.assert_close(made[i].view(height, width), torch.from_numpy(shown), rtol=0, atol=0)


def test_glass_that_looks_left_only_moves_everything_by_a_pixel() -> None:
    still = torch.zeros(1, 9, 8, dtype=torch.int64)
    made = seen_through_glass(still, still - 1, 1).view(9, 8)
    assert made[4].tolist() == [32, 33, 33, 34, 35, 36, 37, 38]
    # Looking right: what was copied first is copied on and on, as in the published code.
    made = seen_through_glass(still, still + 1, 2).view(9, 8)
    assert made[4].tolist() == [32, 33, 34, 39, 39, 39, 39, 39]


def motion_by_loops(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    height, width = image.shape
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(2 * radius + 1)]
    made = np.zeros_like(image)
    for step, weight in enumerate(weights):
        down = math.ceil(step * math.sin(math.radians(degrees)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(degrees)) - 0.5)
        for row in range(height):
            for column in range(width):
                from_row = min(max(row + down, 0), height - 1)
                from_column = min(max(column + right, 0), width - 1)
                made[row, column] += weight / sum(weights) * image[from_row, from_column]
    return made


def test_motion_reads_along_a_line() -> None:
    images = torch.rand(3, 2, 11, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    degrees = torch.tensor([-37.0, 12.5, -120.0], dtype=torch.float64)
    made = moved(images, 4, 2.5, degrees)
    for i, angle in enumerate(degrees.tolist()):
        for channel in range(2):
            wanted = motion_by_loops(images[i, channel].numpy(), 4, 2.5, angle)
            torch.testing.assert_close(made[i, channel], torch.from_numpy(wanted))
