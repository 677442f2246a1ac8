"""Nothing is sure without a width, with few images, or on both sides of zero."""

import math

from archaeology.robustness.sureness import FEWEST, sure_side


def test_sides():
    assert sure_side(0.1, 0.2, FEWEST) == 1 and sure_side(-0.2, -0.1, FEWEST) == -1
    assert sure_side(0.0, 0.2, FEWEST) == sure_side(-0.1, 0.2, 10**6) == 0


def test_few_images_and_no_width_show_nothing():
    assert sure_side(0.1, 0.2, FEWEST - 1) == 0
    assert sure_side(0.1, 0.1, 10**6) == 0
    assert sure_side(math.nan, 0.2, 100) == sure_side(0.1, math.inf, 100) == 0
