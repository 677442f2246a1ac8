"""Allocation is tuned for a whole process, so each of these runs in a process of its own."""

import subprocess
import sys

import pytest

from archaeology.core import allocation

COUNT_FAULTS = """
import resource
import sys

import torch

from archaeology.core.allocation import tune_allocation


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(48, 2**18)  # 48 MiB, above every threshold of glibc's own
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


torch.set_num_threads(1)
faults()
without = faults()
could = tune_allocation()
for _ in range(4):  # the heap grows to the size it then keeps
    faults()
print(could, without, faults())
"""

RELEASE = """
import gc

import torch

from archaeology.core.allocation import release_freed_memory, tune_allocation
from archaeology.core.memory import STATUS, _kibibytes

torch.set_num_threads(1)
tune_allocation()
kept = [torch.ones(200, 2**18), torch.ones(8)]
kept.pop(0)
before = _kibibytes(STATUS, "VmRSS")
print(release_freed_memory(), (before - _kibibytes(STATUS, "VmRSS")) / 1024)
"""

is_glibc = sys.platform.startswith("linux") and hasattr(allocation.ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not is_glibc, reason="only glibc can be told to keep memory")
def test_large_tensors_no_longer_come_from_the_system_each_time():
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    could, without, tuned = done.stdout.split()
    assert could == "True"
    assert int(without) > 5 * 24  # a fault per page, and pages may be as large as 2 MiB
    assert int(tuned) < int(without) / 4


@pytest.mark.skipif(not is_glibc, reason="only glibc can be told to release memory")
def test_what_was_kept_can_be_given_back():
    done = subprocess.run([sys.executable, "-c", RELEASE], capture_output=True, text=True, check=True)
    could, mebibytes = done.stdout.split()
    assert could == "True"
    assert 150 < float(mebibytes) < 300


def test_it_says_so_where_there_is_no_glibc(monkeypatch):
    monkeypatch.setattr(allocation.sys, "platform", "darwin")
    assert allocation.tune_allocation() is False
    assert allocation.release_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch):
    class Musl:
        def __getattr__(self, name):
            raise AttributeError(name)

    monkeypatch.setattr(allocation.sys, "platform", "linux")
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda name: Musl())
    assert allocation.tune_allocation() is False


@pytest.mark.parametrize(("accepted", "could"), [(1, True), (0, False)])
def test_it_is_only_true_if_every_setting_was_accepted(monkeypatch, accepted, could):
    class Glibc:
        gnu_get_libc_version = None

        def __init__(self):
            self.asked = []

        def mallopt(self, name, value):
            self.asked.append((name, value))
            return accepted

    library = Glibc()
    monkeypatch.setattr(allocation.sys, "platform", "linux")
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda name: library)
    assert allocation.tune_allocation() is could
    assert library.asked == [(-4, 0), (-1, -1), (-2, 64 * 2**20)]
