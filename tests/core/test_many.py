"""Many questions at once: p-values against enumeration, corrections by hand, intervals that cover what they say."""

from itertools import product

import numpy as np
import pytest

from archaeology.core.errors import UnknownNameError
from archaeology.core.many import corrected, paired_share, sign_flip_test


def test_p_values_are_the_share_of_all_signs_that_do_as_well():
    samples = np.random.default_rng(0).normal(0.4, 1, size=(9, 3))
    expected = []
    for column in samples.T:
        sums = [
            abs(sum(s * x for s, x in zip(signs, column, strict=True)))
            for signs in product([-1, 1], repeat=9)
        ]
        expected.append(np.mean([total >= abs(column.sum()) - 1e-12 for total in sums]))
    found = sign_flip_test(samples, flips=40_000)
    np.testing.assert_allclose(found, expected, atol=0.012)  # 4 standard deviations


def test_no_p_value_is_zero_and_nothing_is_no_effect():
    samples = np.stack([np.full(50, 2.0), np.zeros(50)], axis=1)
    np.testing.assert_allclose(sign_flip_test(samples, flips=99), [0.01, 1.0])
    smallest = sign_flip_test(np.full((40, 300), 1.0))
    assert corrected(smallest).max() < 0.05  # as many flips as 300 questions need


def test_where_nothing_is_there_p_values_are_even():
    samples = np.random.default_rng(1).normal(size=(40, 400))
    p = sign_flip_test(samples, flips=999)
    assert abs(np.mean(p < 0.1) - 0.1) < 0.06 and abs(np.mean(p) - 0.5) < 0.06


def test_corrections_by_hand():
    p = np.array([0.04, 0.01, 0.5, 0.011])
    np.testing.assert_allclose(corrected(p, "holm"), [0.08, 0.04, 0.5, 0.04])
    np.testing.assert_allclose(corrected(p, "benjamini-hochberg"), [0.16 / 3, 0.022, 0.5, 0.022])
    assert corrected(np.array([])).shape == (0,)


@pytest.mark.parametrize(("share", "flip"), [(0.9, 0.01), (0.7, 0.2), (0.5, 0.0)])
def test_paired_shares_cover_the_difference(share, flip):
    generator = np.random.default_rng(2)
    hit = 0
    for _ in range(400):
        first = generator.random(80) < share
        second = first ^ (generator.random(80) < flip) * first  # loses some of what the first has
        interval = paired_share(first, second)
        hit += interval.low <= share * flip <= interval.high
    assert hit / 400 > 0.93


def test_never_having_seen_a_difference_shows_little_with_few_images():
    few, many = (paired_share(np.ones(n), np.ones(n)) for n in (20, 20_000))
    assert few.low < -0.04 and few.high > 0.04 and few.value == 0
    assert many.low > -0.0002 and many.high < 0.0002


def test_paired_share_by_hand():
    first, second = np.array([1, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 1])
    interval = paired_share(first, second)  # 2 only first, 1 only second of 5; half is added to each
    centre, error = (2.5 - 1.5) / 7, np.sqrt((4 - 1 / 7) / 49)
    assert interval.value == pytest.approx(0.2)
    assert interval.low == pytest.approx(centre - 1.959964 * error)
    assert interval.high == pytest.approx(centre + 1.959964 * error)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="at least one row and finite values; drop or mend"):
        sign_flip_test(np.array([[np.nan]]))
    with pytest.raises(UnknownNameError, match="No correction is called 'holms'; did you mean 'holm'"):
        corrected(np.array([0.5]), "holms")
    with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\], but got \[1.5\]"):
        corrected(np.array([1.5]))
    with pytest.raises(ValueError, match=r"the same images for both, at least one"):
        paired_share(np.ones(2), np.ones(3))
