"""Labels keep their distance and their order, and move no further than they must."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archaeology.figures._labels import spread

LEAST = 0.05


def test_labels_with_room_stay_where_they_are():
    assert spread([0.9, 0.1, 0.5], LEAST) == pytest.approx([0.9, 0.1, 0.5])


def test_labels_at_one_place_part_evenly_around_it():
    assert sorted(spread([0.5, 0.5, 0.5], LEAST)) == pytest.approx([0.45, 0.5, 0.55])


def test_labels_that_push_others_share_the_way():
    assert spread([0.50, 0.51, 0.54], LEAST) == pytest.approx([0.4667, 0.5167, 0.5667], abs=1e-3)


def test_none_and_one():
    assert spread([], LEAST) == []
    assert spread([0.3], LEAST) == [0.3]


@given(st.lists(st.floats(0, 1), max_size=15))
@settings(deadline=None, derandomize=True)
def test_they_never_touch_nor_swap_nor_leave(places):
    found = spread(places, LEAST)
    assert len(found) == len(places)
    order = sorted(range(len(places)), key=lambda i: places[i])
    for lower, upper in pairwise(order):
        assert found[upper] - found[lower] >= LEAST - 1e-9
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in found)
