import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from archaeology.core.framing import Framing
from archaeology.data.resize import framed
from archaeology.data.source import Sample


def some_image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def as_pillow(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    side=st.integers(1, 24),
    crop_fraction=st.sampled_from([1.0, 0.95, 0.875]),
)
def test_equals_torchvisions_resize_and_centre_crop(
    height: int, width: int, side: int, crop_fraction: float
) -> None:
    image = some_image(height, width)
    ours, _, _ = framed(Sample(image, 0), (side, side), crop_fraction)
    resize = v2.Resize(math.floor(side / crop_fraction), interpolation=v2.InterpolationMode.BICUBIC)
    theirs = v2.CenterCrop(side)(resize(as_pillow(image)))
    np.testing.assert_array_equal(ours, np.asarray(theirs).transpose(2, 0, 1))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    frame=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    crop_fraction=st.floats(0.3, 1.0),
)
def test_any_frame_is_filled(height: int, width: int, frame: tuple[int, int], crop_fraction: float) -> None:
    framing = Framing(height, width, frame, crop_fraction)
    assert framing.scaled[0] >= frame[0] and framing.scaled[1] >= frame[1]
    assert 0 <= framing.top <= framing.scaled[0] - frame[0]
    assert 0 <= framing.left <= framing.scaled[1] - frame[1]
    image, _, _ = framed(Sample(some_image(height, width), 0), frame, crop_fraction)
    assert image.shape == (3, *frame) and image.dtype == np.uint8


def test_an_image_of_the_right_size_is_untouched() -> None:
    image = some_image(8, 10)
    ours, _, _ = framed(Sample(image, 0), (8, 10), 1.0)
    np.testing.assert_array_equal(ours, image.numpy())


def test_box_and_mask_go_where_the_pixels_go() -> None:
    """A bright rectangle is found again where the box and the mask say, through scaling and cropping."""
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, 12:24, 20:36] = 255
    mask = image[0] > 0
    frame, box, framed_mask = framed(Sample(image, 0, (20.0, 12.0, 36.0, 24.0), mask), (20, 20), 1.0)
    assert box == (5.0, 6.0, 13.0, 12.0)  # halved, then 5 columns cut off at the left
    bright = frame[0] > 127
    expected = np.zeros((20, 20), bool)
    expected[6:12, 5:13] = True
    np.testing.assert_array_equal(bright, expected)
    np.testing.assert_array_equal(framed_mask, expected)


def test_a_box_is_cut_at_the_frame_and_unknown_once_it_is_outside() -> None:
    image = some_image(10, 30)
    _, cut, _ = framed(Sample(image, 0, (0.0, 2.0, 15.0, 8.0)), (10, 10), 1.0)
    assert cut == (0.0, 2.0, 5.0, 8.0)
    _, outside, _ = framed(Sample(image, 0, (0.0, 0.0, 9.0, 10.0)), (10, 10), 1.0)
    assert all(math.isnan(edge) for edge in outside)
    _, unknown, _ = framed(Sample(image, 0), (10, 10), 1.0)
    assert all(math.isnan(edge) for edge in unknown)


def test_a_mask_of_the_right_size_is_untouched() -> None:
    mask = torch.rand(8, 10) > 0.5
    _, _, ours = framed(Sample(some_image(8, 10), 0, None, mask), (8, 10), 1.0)
    np.testing.assert_array_equal(ours, mask.numpy())


def test_a_line_of_pixels_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"it is 1x100000 pixels, so long and thin that covering 224x224 needs over"
    ):
        framed(Sample(some_image(1, 100_000), 0), (224, 224), 1.0)
