import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from archaeology.data.corruptions import corrupt
from archaeology.data.corruptions.draws import draws_for
from archaeology.data.corruptions.frosted import frosted_pane
from archaeology.data.corruptions.plasma import plasma

Pictures = Callable[..., Tensor]


def cloud_by_loops(steps: list[float], side: int, decay: float) -> np.ndarray:
    """Diamond-square on a torus, point by point, taking its random steps in the order of the published code."""
    cloud, size, wibble, drawn = np.zeros((side, side)), side, 100.0, iter(steps)
    while size >= 2:
        half = size // 2
        for row in range(0, side, size):
            for column in range(0, side, size):
                corners = [cloud[(row + a) % side, (column + b) % side] for a in (0, size) for b in (0, size)]
                cloud[row + half, column + half] = sum(corners) / 4 + wibble**2 * next(drawn)
        for down, right in ((0, half), (half, 0)):
            for row in range(down, side, size):
                for column in range(right, side, size):
                    around = (
                        (row - half, column),
                        (row + half, column),
                        (row, column - half),
                        (row, column + half),
                    )
                    mean = sum(cloud[a % side, b % side] for a, b in around) / 4
                    cloud[row, column] = mean + wibble**2 * next(drawn)
        size, wibble = half, wibble / decay
    return (cloud - cloud.min()) / (cloud.max() - cloud.min())


@pytest.mark.parametrize("decay", [1.4, 3.0])
def test_clouds_are_drawn_point_by_point(decay: float, pictures: Pictures) -> None:
    draws = draws_for(pictures(2, 32, 32), "fog", 0)
    made, drawn = plasma(draws, 16, decay), 2 * draws.uniform("plasma", 255) - 1
    for i in range(2):
        wanted = cloud_by_loops(drawn[i].tolist(), 16, decay)
        torch.testing.assert_close(made[i], torch.from_numpy(wanted), rtol=1e-6, atol=1e-9)


def test_fog_hides_contrast_but_keeps_the_brightest(pictures: Pictures) -> None:
    images = pictures(2, 37, 60)
    cloud = plasma(draws_for(images, "fog", 0), 64, 1.75)[:, None, :37, :60]
    brightest = images.amax((1, 2, 3), keepdim=True)
    wanted = (images + 1.5 * cloud) * brightest / (brightest + 1.5)
    torch.testing.assert_close(corrupt(images, "fog", 5), wanted)
    assert (corrupt(images, "fog", 5).amax((1, 2, 3)) <= brightest.flatten() + 1e-9).all()


@pytest.mark.parametrize("severity", [1, 5])
def test_brightness_raises_the_value(severity: int, pictures: Pictures) -> None:
    images = pictures(1, 32, 34)
    images[0, :, 3, 4] = 0
    images[0, :, 5, 6] = 0.4
    made, more = corrupt(images, "brightness", severity), {1: 0.05, 5: 0.3}[severity]
    for row in range(32):
        for column in range(34):
            hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, row, column].tolist())
            wanted = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + more))
            assert made[0, :, row, column].tolist() == pytest.approx(wanted, abs=1e-9)


def test_snow_only_adds_white_and_falls_from_above() -> None:
    images = torch.full((3, 3, 120, 110), 0.2, dtype=torch.float64)
    images[1], images[2] = 0.25, 0.3
    made = corrupt(images, "snow", 2)
    assert (made >= images - 1e-9).all()
    torch.testing.assert_close(made[:, 0], made[:, 2])  # grey stays grey
    flakes = made[:, 0] - made[:, 0].mean((1, 2), keepdim=True)
    beside, below = (flakes[:, :, 1:] * flakes[:, :, :-1]).mean(), (flakes[:, 1:] * flakes[:, :-1]).mean()
    assert below > beside
    torch.testing.assert_close(made, made.rot90(2, (2, 3)))  # a flake and its image under half a turn


def test_frost_is_of_the_published_brightness_and_contrast(pictures: Pictures) -> None:
    for size in ((32, 40), (100, 90)):
        panes = frosted_pane(draws_for(pictures(12, *size), "frost", 0), size)
        assert panes.shape == (12, 3, *size) and panes.min() >= 0 and panes.max() <= 1
        levels, contrasts = panes.mean((1, 2, 3)), panes.std((2, 3)).mean(1)
        assert levels.min() > 0.25 and levels.max() < 0.9 and levels.std() > 0.05
        assert contrasts.min() > 0.05 and contrasts.max() < 0.2
        assert (panes[:, 2].mean((1, 2)) >= panes[:, 0].mean((1, 2))).all()  # bluish


def test_frost_is_a_share_of_both(pictures: Pictures) -> None:
    images = pictures(2, 34, 36)
    panes = frosted_pane(draws_for(images, "frost", 3), (34, 36))
    wanted = (0.85 * images + 0.4 * panes).clamp(0, 1)
    torch.testing.assert_close(corrupt(images, "frost", 4, seed=3), wanted)
