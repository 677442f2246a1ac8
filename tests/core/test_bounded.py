"""Intervals of bounded means: exact where a formula is known, and covering where the bootstrap does not."""

import numpy as np
import pytest
from scipy import stats

from archaeology.core.bounded import bounded_means
from archaeology.core.intervals import bootstrap_mean


def interval(values, bounds=(0.0, 1.0), **options):
    column = np.asarray(values, dtype=float)[:, None]
    return bounded_means(column, column, bounds, **options)[0]


@pytest.mark.parametrize(("hits", "n"), [(0, 8), (8, 8), (3, 11), (40, 57)])
def test_of_shares_it_is_the_interval_of_clopper_and_pearson(hits, n):
    found = interval([1.0] * hits + [0.0] * (n - hits), resamples=60_000)
    low = stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    assert found.value == pytest.approx(hits / n)
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-3), pytest.approx(high, abs=6e-3))


def test_against_plain_loops():
    values, bounds = [0.2, 0.5, 0.9], (-1.0, 2.0)
    random = np.random.default_rng(5)
    lows, highs = [], []
    for _ in range(20_000):
        drawn = [random.exponential() for _ in range(4)]
        total = sum(drawn)
        lows.append(sum(weight * value for weight, value in zip(drawn, [*values, -1.0], strict=True)) / total)
        highs.append(sum(weight * value for weight, value in zip(drawn, [*values, 2.0], strict=True)) / total)
    found = interval(values, bounds, resamples=40_000)
    assert found.low == pytest.approx(np.quantile(lows, 0.025), abs=0.02)
    assert found.high == pytest.approx(np.quantile(highs, 0.975), abs=0.02)


def test_ends_that_are_not_known_widen_it_and_the_value_is_their_middle():
    low, high = np.full((9, 1), 0.2), np.full((9, 1), 0.4)
    (found,) = bounded_means(low, high, (0.0, 1.0))
    assert found.value == pytest.approx(0.3) and found.n == 9
    assert found.low == pytest.approx(interval([0.2] * 9).low)
    assert found.high == pytest.approx(interval([0.4] * 9).high)


def test_what_never_varied_has_a_width_that_shrinks_with_n():
    widths = [interval([0.6] * n) for n in (4, 8, 64, 512)]
    assert all(one.low < 0.6 < one.high for one in widths)
    assert widths[1].high == pytest.approx(0.6 + 0.4 * (1 - 0.025 ** (1 / 8)), abs=0.02)
    gaps = [one.high - one.low for one in widths]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.01


def test_it_covers_where_the_bootstrap_of_few_does_not():
    """Nine of ten images break at one size, one is wrong from the start: eight images mostly show the former only."""
    random = np.random.default_rng(0)
    samples = np.where(random.random((300, 8)) < 0.1, 0.0, 0.75)
    covered = [
        (one.low <= 0.675 <= one.high, other.low <= 0.675 <= other.high)
        for one, other in ((interval(row, resamples=400), bootstrap_mean(row)) for row in samples)
    ]
    ours, bootstrap = np.mean(covered, axis=0)
    assert ours >= 0.95 and bootstrap < 0.7


def test_the_same_seed_gives_the_same_and_memory_does_not_matter(monkeypatch):
    values = np.linspace(0, 1, 23)
    whole = interval(values, seed=3)
    assert whole == interval(values, seed=3) != interval(values, seed=4)
    monkeypatch.setattr("archaeology.core.bounded.MAX_WEIGHTS", 24 * 7)
    assert interval(values, seed=3) == whole


def test_impossible_input_is_refused():
    ones = np.ones((3, 1))
    for low, high in ((ones, 0 * ones), (ones, 2 * ones), (ones[:0], ones[:0]), (np.nan * ones, ones)):
        with pytest.raises(ValueError, match=r"0 <= low <= high <= 1"):
            bounded_means(low, high, (0.0, 1.0))
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        interval([0.5], level=1.0)
