"""Intervals of ratios and of other formulas, against one resample at a time and against the bootstrap of means."""

import numpy as np
import pytest

from archaeology.core.bootstrap import Intervals, bootstrap_of, bootstrap_ratios
from archaeology.core.intervals import bootstrap_means
from archaeology.core.seeding import numpy_generator

GENERATOR = np.random.default_rng(0)


def test_the_mean_is_a_formula_too() -> None:
    samples = GENERATOR.normal(size=(31, 3))
    ours = bootstrap_of(samples, lambda means: means, seed=4)
    for column, theirs in enumerate(bootstrap_means(samples, seed=4)):
        assert ours.at(column) == theirs


def test_ratios_are_those_of_sums_resample_by_resample() -> None:
    part, whole = GENERATOR.gamma(2.0, size=(17, 2, 3)), GENERATOR.gamma(2.0, size=(17, 2, 3))
    found = bootstrap_ratios(part, whole, seed=1)
    assert found.value.shape == (2, 3) and found.n == 17 and found.level == 0.95
    np.testing.assert_allclose(found.value, part.sum(0) / whole.sum(0))
    weights = numpy_generator(1, "bootstrap", 17).multinomial(17, np.full(17, 1 / 17), size=2000)
    for one in range(2):
        for two in range(3):
            draws = [
                sum(w * p for w, p in zip(row, part[:, one, two], strict=True))
                / sum(w * p for w, p in zip(row, whole[:, one, two], strict=True))
                for row in weights
            ]
            np.testing.assert_allclose(found.low[one, two], np.quantile(draws, 0.025))
            np.testing.assert_allclose(found.high[one, two], np.quantile(draws, 0.975))


def test_pairing_cancels_what_is_common() -> None:
    hard = GENERATOR.gamma(1.0, size=101)
    samples = np.stack([hard, hard + 0.1, np.ones(101)], axis=1)
    found = bootstrap_of(samples, lambda means: (means[:, 1] - means[:, 0]) / means[:, 2])
    assert found.value == pytest.approx(0.1) and found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_what_is_not_defined_is_nan_and_only_that() -> None:
    part, whole = np.ones((5, 3)), np.ones((5, 3))
    part[:, 0] = whole[:, 0] = 0
    whole[1:, 1] = 0  # a third of the resamples miss the only sample that counts
    part[1:, 1] = 0
    found = bootstrap_ratios(part, whole)
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()
    np.testing.assert_array_equal([found.value[1:], found.low[1:], found.high[1:]], np.ones((3, 2)))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"same shape, but got \(3, 1\) and \(3, 2\)"):
        bootstrap_ratios(np.ones((3, 1)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_of(np.ones((0, 1)), lambda means: means)
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_of(np.full((2, 1), np.nan), lambda means: means)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        bootstrap_of(np.ones((2, 1)), lambda means: means, level=1.0)
    assert isinstance(bootstrap_of(np.ones((2, 1)), lambda means: means, level=0.5), Intervals)
