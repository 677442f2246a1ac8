"""What a picture is like: by hand on flat, striped and coloured ones, and which way each number moves."""

import numpy as np
import pytest

from archaeology.failures.picture import picture_columns


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[None, None], 3, axis=1)


def test_numbers_are_those_by_hand():
    flat = picture_columns(grey(np.full((8, 8), 51)))
    assert flat["brightness"][0] == pytest.approx(0.2)
    assert all(flat[name][0] == pytest.approx(0, abs=1e-9) for name in flat if name != "brightness")
    half = picture_columns(grey(np.repeat([[0] * 4 + [255] * 4], 8, axis=0)))
    assert half["brightness"][0] == pytest.approx(0.5) and half["contrast"][0] == pytest.approx(0.5)
    assert half["edge_density"][0] == pytest.approx(2 / 8)  # the columns beside the step
    red = np.zeros((1, 3, 8, 8), np.uint8)
    red[:, 0] = 255
    found = picture_columns(red)
    assert found["saturation"][0] == 1.0 and found["brightness"][0] == pytest.approx(0.299)


def test_blur_takes_sharpness_and_edges():
    noise = np.random.default_rng(0).integers(0, 255, (16, 16))
    blurred = sum(np.roll(noise, (a, b), (0, 1)) for a in range(3) for b in range(3)) / 9
    sharp, soft = picture_columns(grey(noise)), picture_columns(grey(blurred))
    assert soft["sharpness"][0] < 0.5 * sharp["sharpness"][0] and soft["contrast"][0] < sharp["contrast"][0]
    assert soft["edge_density"][0] < sharp["edge_density"][0]


def test_images_do_not_depend_on_each_other_and_may_be_tiny_or_none():
    images = np.random.default_rng(1).integers(0, 255, (300, 3, 5, 7)).astype(np.uint8)
    whole = picture_columns(images)
    for name, values in whole.items():
        np.testing.assert_allclose(values[[3, 299]], picture_columns(images[[3, 299]])[name])
    assert picture_columns(images[:, :, :1, :1])["sharpness"].tolist() == [0.0] * 300
    assert picture_columns(images[:0]) == {}
