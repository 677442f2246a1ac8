import colorsys
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from archaeology.data.corruptions import corrupt
from archaeology.data.corruptions.digital import coarse_matrix
from archaeology.data.corruptions.elastic import shifted, three_points, warped
from archaeology.data.corruptions.jpeg import jpeg

Pictures = Callable[..., Tensor]


def pillow(image: Tensor) -> Image.Image:
    levels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)


def levels_of(image: Image.Image) -> Tensor:
    levels = torch.from_numpy(np.array(image)).double()
    return levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1)


def test_contrast_is_drawn_towards_the_mean_of_each_channel(pictures: Pictures) -> None:
    images = pictures(2, 33, 35)
    made = corrupt(images, "contrast", 5)
    torch.testing.assert_close(made.mean((2, 3)), images.mean((2, 3)))
    torch.testing.assert_close(made.std((2, 3)), 0.15 * images.std((2, 3)))


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_saturation_is_that_of_hsv(severity: int, pictures: Pictures) -> None:
    images = pictures(1, 32, 33)
    images[0, :, 3, 4] = 0.4
    images[0, :, 5, 6] = 0
    made = corrupt(images, "saturate", severity)
    factor, more = {1: (0.3, 0.0), 3: (1.5, 0.0), 5: (2.5, 0.2)}[severity]
    for row in range(32):
        for column in range(33):
            hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, row, column].tolist())
            wanted = colorsys.hsv_to_rgb(hue, min(1.0, saturation * factor + more), value)
            assert made[0, :, row, column].tolist() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("size", [(32, 32), (45, 38), (96, 101), (90, 224)])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_coarse_pixels_are_pillows_boxes(size: tuple[int, int], severity: int, pictures: Pictures) -> None:
    images, factors = pictures(1, *size), ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25))
    factor = factors[min(size) > 84][severity - 1]
    small = pillow(images[0]).resize((int(size[1] * factor), int(size[0] * factor)), Image.Resampling.BOX)
    wanted = levels_of(small.resize((size[1], size[0]), Image.Resampling.BOX))
    made = corrupt(images, "pixelate", severity)[0] * 255
    assert (made - wanted).abs().max() <= 1.01  # Pillow rounds after each direction


def test_coarse_lines_are_constant_in_runs() -> None:
    matrix = coarse_matrix(10, 0.5)
    assert matrix[0].tolist() == matrix[1].tolist() == [0.5, 0.5] + [0] * 8
    torch.testing.assert_close(matrix.sum(1), torch.ones(10, dtype=torch.float64))


@pytest.mark.parametrize("size", [(32, 32), (40, 38), (37, 45), (50, 51), (33, 96)])
@pytest.mark.parametrize("quality", [1, 7, 25, 50, 80, 100])
def test_jpeg_is_pillows_bit_for_bit(size: tuple[int, int], quality: int, pictures: Pictures) -> None:
    images = pictures(2, *size)
    images[1] = (images[1] + 0.1 * torch.randn(3, *size, generator=torch.Generator().manual_seed(1))).clamp(
        0, 1
    )
    for channels in (3, 1):
        made = jpeg(images[:, :channels], quality) * 255
        for i in range(2):
            file = BytesIO()
            pillow(images[i, :channels]).save(file, "JPEG", quality=quality)
            torch.testing.assert_close(made[i], levels_of(Image.open(file)), rtol=0, atol=1e-9)


def test_jpeg_needs_a_quality() -> None:
    with pytest.raises(ValueError, match="quality must be 1 to 100, but got quality=0"):
        jpeg(torch.zeros(1, 3, 32, 32), 0)


def test_local_shifts_are_scipys(pictures: Pictures) -> None:
    images = pictures(2, 33, 38)
    shift = 9 * torch.randn(2, 2, 33, 38, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = shifted(images, shift)
    row, column = np.mgrid[:33, :38]
    for i in range(2):
        places = [row + shift[i, 1].numpy(), column + shift[i, 0].numpy()]
        for channel in range(3):
            wanted = ndimage.map_coordinates(images[i, channel].numpy(), places, order=1, mode="reflect")
            torch.testing.assert_close(made[i, channel], torch.from_numpy(wanted))


def test_three_points_go_where_they_are_sent_and_the_image_with_them(pictures: Pictures) -> None:
    images = pictures(2, 40, 47)
    there = three_points(images).expand(2, 3, 2)
    assert there[0].tolist() == [[36, 33], [36, 7], [10, 7]]
    moved = there + 4 * torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made = warped(images, there, moved)
    row, column = np.mgrid[:40, :47]
    for i in range(2):
        corners = np.concatenate([moved[i].numpy(), np.ones((3, 1))], axis=1)
        back = np.linalg.solve(corners, there[i].numpy())
        places = np.stack([column.ravel(), row.ravel(), np.ones(row.size)], axis=1) @ back
        for channel in range(3):
            wanted = ndimage.map_coordinates(
                images[i, channel].numpy(), places[:, ::-1].T, order=1, mode="mirror"
            ).reshape(40, 47)
            torch.testing.assert_close(made[i, channel], torch.from_numpy(wanted))


def test_elastic_at_its_mildest_is_affine_only_and_moves_up_to_its_share(pictures: Pictures) -> None:
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64).expand(1, 3, 32, 32)
    made = corrupt(ramp, "elastic_transform", 1)[0, 0, 8:24, 8:24]
    second = made[:, 2:] - 2 * made[:, 1:-1] + made[:, :-2]  # zero for an affine map of a ramp
    assert second.abs().max() < 1e-5 and (made - ramp[0, 0, 8:24, 8:24]).abs().max() < 3 * 2.56 / 31
    bent = corrupt(ramp, "elastic_transform", 5)[0, 0, 8:24, 8:24]
    assert (bent[:, 2:] - 2 * bent[:, 1:-1] + bent[:, :-2]).abs().max() > 1e-3
