import os
import subprocess
import sys

import pytest

from archaeology.core.memory import (
    RETURNING,
    available_mebibytes,
    can_measure_memory,
    check_room,
    peak_mebibytes,
)

MEASURE = """
import torch

from archaeology.core.memory import peak_mebibytes


def two_at_a_time():
    for _ in range(3):
        first = torch.ones(30, 2**18)
        second = first + 1
        del first, second


torch.set_num_threads(1)
torch.ones(8) + 1
print(peak_mebibytes(two_at_a_time), peak_mebibytes(lambda: torch.ones(50, 2**18)))
"""

on_linux = pytest.mark.skipif(not can_measure_memory(), reason="only Linux keeps a high-water mark")


@on_linux
def test_the_peak_is_what_was_held_at_once_and_not_the_sum():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env=os.environ | RETURNING,
        capture_output=True,
        text=True,
        check=True,
    )
    two, fifty = map(float, done.stdout.split())
    assert two == pytest.approx(60, abs=2)
    assert fifty == pytest.approx(50, abs=2)


@on_linux
def test_nothing_needs_nothing():
    assert peak_mebibytes(lambda: None) < 1


def test_what_does_not_fit_is_refused_before_it_is_begun(monkeypatch):
    monkeypatch.setattr("archaeology.core.memory.available_mebibytes", lambda: 2048.0)
    check_room(2**31, "so much", "take less")
    with pytest.raises(
        ValueError,
        match=r"^so much must fit into memory, but would take 2\.5 GiB, and 2\.0 GiB are free; take less\.$",
    ):
        check_room(5 * 2**29, "so much", "take less")
    monkeypatch.setattr("archaeology.core.memory.available_mebibytes", lambda: None)
    check_room(10**18, "so much", "take less")  # nobody says how much there is


def test_what_is_available_is_a_number_or_unknown(monkeypatch, tmp_path):
    found = available_mebibytes()
    assert found is None or found > 1
    monkeypatch.setattr("archaeology.core.memory.SYSTEM", tmp_path / "absent")
    assert available_mebibytes() is None
