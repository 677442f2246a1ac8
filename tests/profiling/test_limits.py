"""What is not tried, and what the message says would fit."""

import pytest

from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.estimate import estimated
from archaeology.profiling.limits import Known, duration, too_much
from archaeology.profiling.subject import Subject


def test_what_fits_is_tried():
    known = Known(seconds=0.5, fixed_mebibytes=10.0, mebibytes=10.0)
    assert too_much(7, known, patience=4.0, available=120.0) is None


def test_too_much_memory_says_how_many_would_fit():
    known = Known(seconds=0.001, fixed_mebibytes=100.0, mebibytes=512.0)
    told = too_much(64, known, patience=60.0, available=10240.0)
    assert told is not None and told.startswith("a batch of 64 would need about 32.1 of 10.0 GiB of memory")
    assert told.endswith("--batch-sizes up to 13 fit")  # (0.7 * 10240 - 100) / 512
    assert too_much(13, known, patience=60.0, available=10240.0) is None
    assert too_much(14, known, patience=60.0, available=10240.0) is not None
    assert too_much(10**9, known, patience=60.0, available=None) is not None  # by its time


def test_not_even_one():
    told = too_much(1, Known(seconds=100.0), patience=60.0, available=None)
    assert told == "a batch of 1 would take about 100 s, more than --patience 60; not even one image fits"


def test_an_estimate_adds_up_what_is_not_skipped():
    config = ProfileConfig(batch_sizes=(1, 10), rounds=3, patience=5, warm_up=1)
    fast, slow = Subject("timm:fast"), Subject("timm:slow")
    found = estimated({fast: 0.1, slow: 1.0}, config)
    once = 2 * 12 + 4 * 1.1
    assert found.seconds == pytest.approx(once + 5 * (0.1 + 1.0 + 1.0))
    assert len(found.skips) == 1 and found.skips[0].startswith(
        "timm:slow: a batch of 10 would take about 10 s"
    )
    assert found.text().splitlines()[0] == "about 39 s"


@pytest.mark.parametrize(("seconds", "text"), [(40.2, "40 s"), (420.0, "7 min"), (9000.0, "2.5 h")])
def test_durations(seconds, text):
    assert duration(seconds) == text
