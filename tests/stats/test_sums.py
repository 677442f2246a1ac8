"""Sums that are added give what one pass over everything gives, and survive a file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archaeology.stats import HeadSums


def values(images=11, heads=(2, 3), statistics=5, seed=0):
    generator = np.random.default_rng(seed)
    made = [generator.normal(1e3, 1, (images, number, statistics)) for number in heads]
    made[0][:3, 1, 2] = np.nan
    made[1][:, 0, 4] = np.nan
    return made


def sums(arrays, first=0, last=None):
    return HeadSums.of_images(["a", "b"], list("vwxyz"), [array[first:last] for array in arrays])


def assert_equal(one, other):
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-13)
    np.testing.assert_allclose(one.deviation, other.deviation, rtol=1e-9, atol=1e-9)
    assert one.num_images == other.num_images


def test_sums_are_count_mean_and_deviation():
    made = values()
    whole = sums(made)
    assert whole.modules == ("a", "a", "b", "b", "b")
    assert whole.layer.tolist() == [0, 0, 1, 1, 1] and whole.head.tolist() == [0, 1, 0, 1, 2]
    everything = np.concatenate(made, axis=1)
    np.testing.assert_allclose(whole.mean[1, 2], np.nanmean(everything[:, 1, 2]))
    np.testing.assert_allclose(whole.deviation[3, 1], everything[:, 3, 1].var() * 11)
    assert whole.count[1, 2] == 8 and whole.count[2, 4] == 0 and whole.count[0, 0] == 11


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 11), st.integers(0, 11))
def test_any_cut_into_chunks_adds_up_to_the_whole(first, second):
    made, (low, high) = values(), sorted((first, second))
    assert_equal(sums(made, 0, low) + sums(made, low, high) + sums(made, high), sums(made))


def test_arrays_come_back_from_a_file(tmp_path):
    whole = sums(values())
    np.savez(tmp_path / "sums.npz", **whole.arrays())
    with np.load(tmp_path / "sums.npz") as file:
        back = HeadSums.from_arrays(file)
    assert_equal(back, whole)
    assert (back.modules, back.names) == (whole.modules, whole.names)
    np.testing.assert_array_equal(back.head, whole.head)


def test_sums_of_different_models_do_not_add():
    made = values()
    other = HeadSums.of_images(["a", "c"], list("vwxyz"), made)
    with pytest.raises(ValueError, match=r"same heads and statistics.*survey again"):
        sums(made) + other
