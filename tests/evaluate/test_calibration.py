"""Calibration is what loops and scikit-learn say, and what is debiased is nearer to the truth."""

from itertools import product

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import log_loss

from archaeology.core.errors import UnknownNameError
from archaeology.evaluate.calibration import (
    calibration,
    debiased_error,
    expected_error,
    fit_temperature,
    p_if_calibrated,
)


def made_up(n=211, classes=5, heat=1.0, seed=0):
    """Logits of a model that knows the true probabilities, times `heat`."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(n, classes))
    shares = special.softmax(logits, axis=1)
    labels = np.array([generator.choice(classes, p=row) for row in shares])
    return heat * logits, labels


def ece_by_loops(logits, labels, bins):
    shares = special.softmax(logits, axis=1)
    total = 0.0
    for place in range(bins):
        inside = [i for i, row in enumerate(shares) if place / bins < max(row) <= (place + 1) / bins]
        if inside:
            sure = sum(max(shares[i]) for i in inside) / len(inside)
            right = sum(shares[i].argmax() == labels[i] for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(sure - right)
    return total


def ece_of_equal_counts(logits, labels, bins):
    shares = special.softmax(logits, axis=1)
    order = sorted(range(len(labels)), key=lambda i: max(shares[i]))
    total = 0.0
    for inside in np.array_split(order, bins):
        sure = sum(max(shares[i]) for i in inside) / len(inside)
        right = sum(shares[i].argmax() == labels[i] for i in inside) / len(inside)
        total += len(inside) / len(labels) * abs(sure - right)
    return total


def test_numbers_equal_loops_and_scikit_learn():
    logits, labels = made_up(heat=1.7)
    shares = special.softmax(logits, axis=1)
    wide = calibration(logits, labels, num_bins=13)
    assert wide.ece == pytest.approx(ece_by_loops(logits, labels, 13), abs=1e-12)
    equal = calibration(logits, labels, binning="mass", num_bins=13)
    assert equal.ece == pytest.approx(ece_of_equal_counts(logits, labels, 13), abs=1e-12)
    assert wide.nll.value == pytest.approx(log_loss(labels, shares, labels=range(5)))
    squares = sum((shares[i, k] - (labels[i] == k)) ** 2 for i in range(len(labels)) for k in range(5)) / len(
        labels
    )
    assert wide.brier.value == pytest.approx(squares)
    assert wide.accuracy.value == pytest.approx((shares.argmax(1) == labels).mean())
    assert sum(one.n for one in wide.bins) == wide.n == 211
    assert sum(one.n * one.confidence for one in wide.bins if one.n) / 211 == pytest.approx(wide.confidence)
    assert wide.bins[0].n == 0 and wide.bins[0].accuracy is None


def test_debiasing_takes_away_some_of_what_chance_adds():
    plain, mended = [], []
    for seed in range(60):
        logits, labels = made_up(seed=seed)
        shares = special.softmax(logits, axis=1)
        given = shares.max(1), shares.argmax(1) == labels
        plain.append(expected_error(*given))
        mended.append(debiased_error(*given))
    assert np.mean(plain) > 0.05 and 0 <= np.mean(mended) < 0.7 * np.mean(plain)


def test_a_perfect_model_lies_where_chance_puts_it():
    inside = 0
    for seed in range(10):
        found = calibration(*made_up(seed=seed))
        inside += found.chance.low <= found.ece <= found.chance.high
    assert inside >= 8
    assert calibration(*made_up(heat=3.0)).ece > found.chance.high


def test_a_model_that_is_too_sure_is_found_out_and_mended_by_its_temperature():
    logits, labels = made_up(n=3000, heat=3.0)
    found = calibration(logits, labels)
    assert found.debiased.low > 0.05 and found.confidence > found.accuracy.high
    heat = fit_temperature(logits, labels)
    assert heat.value == pytest.approx(3.0, rel=0.1) and heat.nll_after < heat.nll_before
    for other in (0.99, 1.01):
        rows = logits / (heat.value * other)
        loss = (special.logsumexp(rows, axis=1) - rows[np.arange(3000), labels]).mean()
        assert loss > heat.nll_after
    assert calibration(logits / heat.value, labels).debiased.low == 0


def test_bad_input_is_refused():
    logits, labels = made_up(n=20)
    with pytest.raises(UnknownNameError, match="width"):
        calibration(logits, labels, binning="wdith")
    with pytest.raises(ValueError, match="num_bins must be 1 to 20"):
        calibration(logits, labels, binning="mass", num_bins=21)
    with pytest.raises(ValueError, match="20 images and 7 labels"):
        calibration(logits, labels[:7])
    with pytest.raises(ValueError, match=r"a class in 0\.\.4"):
        calibration(logits, labels + 5)
    with pytest.raises(ValueError, match="at least two classes, but got 1"):
        calibration(logits[:, :1], 0 * labels)
    holed = logits.copy()
    holed[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 values that are NaN"):
        calibration(holed, labels)
    with pytest.raises(ValueError, match="right about all 20"):
        fit_temperature(logits, logits.argmax(1))
    with pytest.raises(ValueError, match="better than guessing"):
        fit_temperature(logits, logits.argmin(1))


@pytest.mark.parametrize("heat", [1.0, 1.5])
def test_intervals_of_the_debiased_error_hold_the_truth(heat, monkeypatch):
    monkeypatch.setattr("archaeology.evaluate.calibration.RESAMPLES", 200)
    logits, labels = made_up(n=200_000, heat=heat, seed=99)
    shares = special.softmax(logits, axis=1)
    truth = 0.0 if heat == 1 else expected_error(shares.max(1), shares.argmax(1) == labels)
    held = 0
    for seed in range(40):
        found = calibration(*made_up(n=500, heat=heat, seed=seed), seed=seed).debiased
        held += found.low <= truth <= found.high
    assert held >= 35


def test_p_of_calibration_is_the_exact_count():
    """Against a count of all 2^9 outcomes; and with equal coins, the binomial's."""
    sure = np.random.default_rng(0).uniform(0.3, 0.99, 9)
    right = np.arange(9) < 4
    weight = {
        outcome: np.prod(np.where(outcome, sure, 1 - sure)) for outcome in product([False, True], repeat=9)
    }
    low = sum(value for outcome, value in weight.items() if sum(outcome) <= 4)
    high = sum(value for outcome, value in weight.items() if sum(outcome) >= 4)
    assert p_if_calibrated(sure, right) == pytest.approx(min(1.0, 2 * min(low, high)))
    many = p_if_calibrated(np.full(700, 0.9), np.arange(700) < 590)
    assert many == pytest.approx(2 * stats.binom.cdf(590, 700, 0.9), rel=1e-6)
