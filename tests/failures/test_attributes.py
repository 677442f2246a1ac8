"""Attributes against loops over pixels, their ranges, and what they say of images we know."""

import math

import numpy as np
import pytest
from tests.failures.made_up import decoded, pictures

from archaeology.core.errors import UnknownNameError
from archaeology.failures.attributes import attributes, attributes_of, measured_attributes

LAPLACE = ((0, 1, 0), (1, -4, 1), (0, 1, 0))
SOBEL = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))


def by_loops(image, box, mask):
    """All attributes of one 8-bit image, pixel by pixel."""
    _, height, width = image.shape
    unit = [[[float(image[c, y, x]) / 255 for c in range(3)] for x in range(width)] for y in range(height)]
    grey = [[0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] for p in line] for line in unit]
    flat = [value for line in grey for value in line]
    mean = sum(flat) / len(flat)
    second, edges = [], 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            around = [(dy, dx, grey[y + dy][x + dx]) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            second.append(sum(LAPLACE[dy + 1][dx + 1] * value for dy, dx, value in around))
            across = sum(SOBEL[dy + 1][dx + 1] * value for dy, dx, value in around)
            down = sum(SOBEL[dx + 1][dy + 1] * value for dy, dx, value in around)
            edges += math.hypot(across, down) > 0.5
    middle = sum(second) / len(second)
    inside = [(y + 0.5, x + 0.5) for y in range(height) for x in range(width) if mask[y, x]]
    if inside:
        size = len(inside) / (height * width)
        down, across = (sum(one[axis] for one in inside) / len(inside) for axis in (0, 1))
    else:
        left, top, right, bottom = (float(edge) for edge in box)
        size = (right - left) * (bottom - top) / (height * width)
        across, down = (left + right) / 2, (top + bottom) / 2
    return {
        "brightness": mean,
        "contrast": math.sqrt(sum((value - mean) ** 2 for value in flat) / len(flat)),
        "saturation": sum(max(p) - min(p) for line in unit for p in line) / len(flat),
        "sharpness": sum((value - middle) ** 2 for value in second) / len(second),
        "edge_density": edges / len(second),
        "object_size": size,
        "object_place": math.hypot(across - width / 2, down - height / 2) / (math.hypot(width, height) / 2),
    }


def test_they_equal_loops_over_pixels():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 3, 7, 11)).astype(np.uint8)
    masks = random.random((4, 7, 11)) < 0.3
    masks[2] = False
    boxes = np.tile([1.0, 2.0, 6.0, 5.0], (4, 1))
    found = attributes_of(images, boxes=boxes, masks=masks)
    assert set(found) == set(attributes)
    for row in range(4):
        for name, value in by_loops(images[row], boxes[row], masks[row]).items():
            assert found[name][row] == pytest.approx(value, rel=2e-5, abs=2e-6), name


def test_known_images_have_known_values():
    images = np.zeros((3, 3, 8, 8), np.uint8)
    images[1] = 255
    images[2, 0] = 255
    images[2, :, :, 4:] = 0
    found = attributes_of(images)
    np.testing.assert_allclose(found["brightness"], [0, 1, 0.299 / 2], atol=1e-6)
    np.testing.assert_allclose(found["contrast"], [0, 0, 0.299 / 2], atol=1e-6)
    np.testing.assert_allclose(found["saturation"], [0, 0, 0.5], atol=1e-6)
    assert found["sharpness"][:2].max() < 1e-10 and found["edge_density"][:2].max() == 0


def test_without_boxes_and_masks_there_are_no_objects_and_unknown_ones_are_nan():
    images, labels = pictures(4)
    assert "object_size" not in measured_attributes(decoded(images, labels))
    boxes = np.array([[0.0, 0, 6, 6], [np.nan] * 4, [-3, -3, 20, 20], [6, 6, 12, 12]])
    found = measured_attributes(decoded(images, labels, boxes=boxes))
    np.testing.assert_allclose(found["object_size"], [0.25, np.nan, 1, 0.25])
    np.testing.assert_allclose(found["object_place"], [0.5, np.nan, 0, 0.5], atol=1e-6)


def test_an_image_alone_has_the_same_values_as_among_others(monkeypatch):
    images, _ = pictures(5)
    together = attributes_of(images)
    monkeypatch.setattr("archaeology.failures.attributes.CHUNK", 2)
    for name, values in attributes_of(images).items():
        np.testing.assert_allclose(values, together[name], rtol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="at least one image"):
        attributes_of(np.zeros((0, 3, 8, 8), np.uint8))
    with pytest.raises(UnknownNameError, match="did you mean 'brightness'"):
        attributes.get("brightnes")
