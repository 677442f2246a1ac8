"""What is expected of longer sequences, and what is not even tried."""

import pytest

from archaeology.zoo.config import ZooConfig
from archaeology.zoo.estimate import estimated
from archaeology.zoo.forecast import duration, expected, too_costly


def test_cost_goes_on_as_it_grew():
    assert expected({512: 1.0, 1024: 3.0}, 2048) == pytest.approx(9.0)
    assert expected({256: 9.0, 512: 1.0, 1024: 2.0}, 4096) == pytest.approx(8.0)


def test_growth_is_kept_within_reason():
    assert expected({512: 1.0, 1024: 1.0}, 2048) == pytest.approx(2.0)  # not for free
    assert expected({512: 1.0, 1024: 100.0}, 2048) == pytest.approx(100 * 2**2.2)


def test_one_length_is_taken_to_grow_with_the_square_and_none_tells_nothing():
    assert expected({512: 1.0}, 1024) == pytest.approx(4.0)
    assert expected({}, 1024) is None
    assert expected({2048: 1.0}, 1024) is None
    assert expected({1024: 7.0}, 1024) == 7.0


def test_why_a_step_is_not_tried():
    assert too_costly(29.0, 100.0, patience=30.0, available=1000.0) is None
    assert too_costly(None, None, patience=30.0, available=None) is None
    slow = too_costly(31.0, None, patience=30.0, available=None)
    assert slow == "a step would take about 31 s, more than --patience 30"
    large = too_costly(1.0, 7200.0, patience=30.0, available=8192.0)
    assert large == "a step would need about 7.0 of 8.0 GiB of memory"


@pytest.mark.parametrize(("seconds", "words"), [(4.2, "4 s"), (100.0, "2 min"), (9000.0, "2.5 h")])
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_an_estimate_adds_up_and_names_what_is_left_out():
    config = ZooConfig(lengths=(512, 1024, 2048), rounds=3, draws=1, score_stds=(1.0,), patience=3.0)
    steps = {
        "softmax": {"forward": {512: 0.1, 1024: 0.2}, "forward+backward": {512: 0.5, 1024: 1.0}},
        "sparsemax": {"forward": {512: 0.1, 1024: 0.4}, "forward+backward": {512: 1.0, 1024: 4.0}},
    }
    found = estimated(steps, config)
    dense = 5 * (0.6 + 1.2 + 2.4) + 2 * (1 + 3) * (0.1 + 0.2 + 0.4)
    assert found.seconds == pytest.approx(5.0 + dense + 5 * 1.1)
    assert [(skip.mechanism, skip.length) for skip in found.skips] == [("sparsemax", 1024)]
    assert "without sparsemax from 1,024 tokens: a step would take about 4 s" in found.text()
