"""Intervals against SciPy, against brute force and against their own promise: to cover the truth as often as said."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from archaeology.core import intervals
from archaeology.core.intervals import (
    Interval,
    bootstrap_mean,
    bootstrap_means,
    mcnemar,
    mean_over_draws,
    paired_bootstrap,
    wilson,
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_is_scipys(n: int, share: float, level: float) -> None:
    successes = round(share * n)
    ours = wilson(successes, n, level)
    theirs = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert (ours.value, ours.n, ours.method, ours.level) == (successes / n, n, "wilson", level)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_wilson_at_the_ends() -> None:
    none, all_ = wilson(0, 20), wilson(20, 20)
    assert none.low == 0 and none.high == pytest.approx(1.959964**2 / (20 + 1.959964**2))
    assert all_.high == 1 and all_.low == pytest.approx(1 - none.high)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=rf"0 <= successes <= n and n >= 1, but got {successes=}, {n=}"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.1, math.nan])
def test_levels_lie_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        wilson(1, 2, level)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        bootstrap_mean(np.arange(3.0), level=level)


def test_interval_excludes() -> None:
    interval = Interval(0.5, 0.4, 0.6, 10, "made up")
    assert interval.excludes(0.39) and interval.excludes(0.61)
    assert not interval.excludes(0.4) and not interval.excludes(0.6)


def test_bootstrap_of_three_values_is_the_enumerated_one() -> None:
    """With three rows all 27 resamples can be written down: the quantiles must be theirs."""
    values = np.array([1.0, 2.0, 10.0])
    means = sorted(np.mean(rows) for rows in product(values, repeat=3))
    interval = bootstrap_mean(values, level=0.8)
    assert interval.value == pytest.approx(13 / 3)
    assert interval.low == pytest.approx(np.quantile(means, 0.1, method="inverted_cdf"))
    assert interval.high == pytest.approx(np.quantile(means, 0.9, method="inverted_cdf"))


def test_bootstrap_agrees_with_scipys() -> None:
    sample = np.random.default_rng(0).gamma(2.0, size=101)
    ours = bootstrap_mean(sample)
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    )
    spread = theirs.standard_error
    assert abs(ours.low - theirs.confidence_interval.low) < 0.25 * spread
    assert abs(ours.high - theirs.confidence_interval.high) < 0.25 * spread


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    """1,000 experiments of 60 draws with a known mean, at 90 %: between 86 and 93 % cover it."""
    draws = np.random.default_rng(3).exponential(size=(60, 1000))  # the true mean is 1
    found = bootstrap_means(draws, level=0.9)
    covered = np.mean([not interval.excludes(1.0) for interval in found])
    assert 0.86 < covered < 0.93
    narrow = bootstrap_means(draws, level=0.5)
    assert 0.45 < np.mean([not interval.excludes(1.0) for interval in narrow]) < 0.54


def test_columns_are_resampled_together() -> None:
    sample = np.random.default_rng(4).normal(size=(37, 1))
    one, other = bootstrap_means(np.hstack([sample, -sample]))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_bootstrap_is_the_same_for_the_same_seed_and_however_much_fits_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = np.random.default_rng(5).normal(size=(53, 2))
    first = bootstrap_means(sample, seed=1)
    assert bootstrap_means(sample, seed=1) == first
    assert bootstrap_means(sample, seed=2) != first
    for at_once in (1, 53 * 7, 53 * 1999):
        monkeypatch.setattr(intervals, "MAX_WEIGHTS", at_once)
        again = bootstrap_means(sample, seed=1)
        np.testing.assert_allclose(
            [(i.low, i.high) for i in again], [(i.low, i.high) for i in first], rtol=1e-12
        )


def test_bootstrap_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="needs at least one row"):
        bootstrap_means(np.empty((0, 2)))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite values"):
            bootstrap_mean(np.array([1.0, bad]))


def test_pairing_cancels_what_is_common() -> None:
    generator = np.random.default_rng(6)
    hard = generator.normal(scale=10, size=211)
    first, second = hard + 0.5 + generator.normal(scale=0.1, size=211), hard
    paired = paired_bootstrap(first, second)
    assert paired.low > 0.48 and paired.high < 0.52
    alone = bootstrap_mean(first)
    assert alone.high - alone.low > 20 * (paired.high - paired.low)
    assert paired_bootstrap(np.array([True, True]), np.array([False, True])).value == 0.5


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="same images, but got 3 and 2"):
        paired_bootstrap(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="same images for both, but got 3 and 2"):
        mcnemar(np.ones(3), np.ones(2))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_exact_binomial_test(
    only_first: int, only_second: int, both: int, neither: int
) -> None:
    counts = [only_first, only_second, both, neither]
    first = np.repeat([True, False, True, False], counts)
    second = np.repeat([False, True, True, False], counts)
    order = np.random.default_rng(0).permutation(len(first))
    found = mcnemar(first[order], second[order])
    assert (found.only_first, found.only_second, found.n) == (only_first, only_second, sum(counts))
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    assert found.p_value == pytest.approx(min(1.0, 2 * tail / 2**discordant), rel=1e-9)
    if discordant:
        assert found.p_value == pytest.approx(stats.binomtest(only_first, discordant).pvalue)


@pytest.mark.parametrize(("num_draws", "num_images"), [(3, 400), (10, 50), (10, 1000)])
def test_a_mean_over_draws_and_images_covers_what_other_draws_and_images_give(num_draws, num_images):
    """Answers with a part of the draw, a part of the image and luck; the truth is 0."""
    generator = np.random.default_rng(5)
    trials, low = 400, []
    for _ in range(trials):
        of_draw = generator.normal(0, 0.02, (num_draws, 1))
        of_image = generator.normal(0, 0.4, (1, num_images))
        answers = of_draw + of_image + generator.normal(0, 0.1, (num_draws, num_images))
        interval, p_value = mean_over_draws(answers.mean(axis=1), answers.mean(axis=0))
        assert (interval.low > 0 or interval.high < 0) == (p_value < 0.05)
        low.append(p_value < 0.05)
    assert wilson(sum(low), trials).low < 0.05 and sum(low) / trials < 0.075


def test_a_mean_over_draws_is_students_where_one_part_does_not_vary():
    draws, still = np.array([0.5, 0.6, 0.7]), np.full(9, 0.6)
    interval, p_value = mean_over_draws(draws, still)
    assert interval.high - 0.6 == pytest.approx(4.302653 * 0.1 / 3**0.5)
    assert p_value == pytest.approx(stats.ttest_1samp(draws, 0).pvalue)
    interval, p_value = mean_over_draws(still, still)
    assert (interval.low, interval.high, p_value) == (0.6, 0.6, 1.0)
    with pytest.raises(ValueError, match="two draws and two images or more, but got 1 and 9"):
        mean_over_draws(draws[:1], still)
