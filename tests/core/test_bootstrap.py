"""Intervals of ratios and of other formulas, against one resample at a time and against the bootstrap of means."""

import numpy as np
import pytest

from archaeology.core.bootstrap import Intervals, bootstrap_of, bootstrap_ratios
from archaeology.core.intervals import bootstrap_means, bootstrap_ratio
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


def test_level_and_number_of_resamples_are_those_asked_for() -> None:
    samples = GENERATOR.normal(size=(23, 2)) + 3
    found = bootstrap_of(samples, lambda means: means, seed=2, resamples=300, level=0.5)
    for column, theirs in enumerate(bootstrap_means(samples, seed=2, resamples=300, level=0.5)):
        assert found.at(column) == theirs
    ratios = bootstrap_ratios(samples, np.ones((23, 2)), seed=2, level=0.5)
    for column, theirs in enumerate(bootstrap_means(samples, seed=2, level=0.5)):
        assert ratios.at(column).level == 0.5 and ratios.low[column] == pytest.approx(theirs.low)


def test_resamples_that_miss_the_samples_that_count_are_left_out() -> None:
    part, whole = np.ones((5, 3)), np.zeros((5, 3))
    whole[0, 1], whole[:2, 2] = 1, (1, 3)
    found = bootstrap_ratios(part, whole)
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()  # something over nothing
    assert np.isfinite(found.high[1:]).all()
    assert found.low[2] < found.value[2] < found.high[2]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_ratio_is_that_of_many(sign: float) -> None:
    part, whole = GENERATOR.gamma(2.0, size=(2, 9))
    whole[3:] = 0  # some resamples have nothing below the line
    found = bootstrap_ratio(part, sign * whole, seed=3, level=0.8)
    many = bootstrap_ratios(part[:, None], sign * whole[:, None], seed=3, level=0.8).at(0)
    assert found.value == pytest.approx(part.sum() / (sign * whole.sum()))
    assert (found.low, found.high, found.level) == (
        pytest.approx(many.low),
        pytest.approx(many.high),
        many.level,
    )
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        bootstrap_ratio(part, whole, level=1.5)
