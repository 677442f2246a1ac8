"""Slices: EM against scikit-learn and loops; a planted slice is found, random errors make none; bad input."""

import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from archaeology.core.intervals import newcombe, wilson
from archaeology.failures import slices
from archaeology.failures.slices import (
    FLOOR,
    SMOOTHING,
    find_slices,
    fit_mixture,
    halves,
    is_comparable,
    log_gaussian,
    maximized,
    within_labels,
    without_class_means,
)


def answers(labels, wrong, classes=5):
    """Probabilities whose largest is the label, or the next class where wrong."""
    named = np.where(wrong, (labels + 1) % classes, labels)
    return np.full((len(labels), classes), 0.1 / (classes - 1)) + np.eye(classes)[named] * (
        0.9 - 0.1 / (classes - 1)
    )


def world(n=400, *, planted, seed=0, dims=12):
    random = np.random.default_rng(seed)
    labels = random.integers(5, size=n)
    features = random.normal(size=(n, dims)) + 2.0 * np.eye(5, dims)[labels]
    inside = np.zeros(n, bool)
    inside[::8] = True
    wrong = random.random(n) < 0.15
    if planted:
        features[inside, -1] += 9.0
        wrong |= inside & (random.random(n) < 0.8)
    return features, labels, answers(labels, wrong), inside, wrong


def test_without_emphasis_it_is_scikit_learns_mixture():
    random = np.random.default_rng(3)
    middles = np.array([[0.0, 0.0, 0.0], [6.0, 1.0, 0.0], [0.0, 7.0, 3.0]])
    features = middles[random.integers(3, size=150)] + random.normal(size=(150, 3))
    labels, probabilities = np.zeros(150, int), np.full((150, 2), 0.5)
    ours = fit_mixture(features, labels, probabilities, 3, emphasis=0.0)
    theirs = GaussianMixture(
        3, covariance_type="diag", reg_covar=FLOOR, tol=1e-7, max_iter=500, random_state=0, n_init=3
    ).fit(features)
    order, other = (
        np.argsort(ours.mean[:, 0] - ours.mean[:, 1]),
        np.argsort(theirs.means_[:, 0] - theirs.means_[:, 1]),
    )
    np.testing.assert_allclose(ours.mean[order], theirs.means_[other], atol=0.02)
    np.testing.assert_allclose(ours.weight[order], theirs.weights_[other], atol=0.005)
    np.testing.assert_allclose(ours.log_likelihood[-1], theirs.score(features), atol=1e-3)


def test_density_and_maximization_are_those_of_loops():
    random = np.random.default_rng(0)
    features, hot = random.normal(size=(7, 3)), np.eye(4)[random.integers(4, size=7)]
    answer = random.dirichlet(np.ones(4), 7)
    shares = random.dirichlet(np.ones(2), 7)
    made = maximized(shares, features, hot, answer, 10.0)
    for s in range(2):
        total = sum(shares[i, s] for i in range(7))
        for d in range(3):
            mean = sum(shares[i, s] * features[i, d] for i in range(7)) / total
            spread = sum(shares[i, s] * (features[i, d] - mean) ** 2 for i in range(7)) / total
            np.testing.assert_allclose(made.mean[s, d], mean)
            np.testing.assert_allclose(made.variance[s, d], spread + FLOOR)
        for c in range(4):
            mass = sum(shares[i, s] * answer[i, c] for i in range(7)) + SMOOTHING
            np.testing.assert_allclose(made.answer[s, c], mass / (total + 4 * SMOOTHING))
    density = log_gaussian(features, made.mean, made.variance)
    wanted = stats.multivariate_normal(made.mean[1], np.diag(made.variance[1])).logpdf(features)
    np.testing.assert_allclose(density[:, 1], wanted)


def test_the_likelihood_never_falls():
    features, labels, probabilities, _, _ = world(planted=True)
    history = np.array(fit_mixture(features, labels, probabilities, 6).log_likelihood)
    # Floor and smoothing make a step a little worse than the best one; much more would be a mistake.
    assert len(history) > 2 and (np.diff(history) > -1e-3).all() and history[-1] > history[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_slice_is_found_and_described(seed):
    features, labels, probabilities, inside, _ = world(800, planted=True, seed=seed)
    brightness = np.where(inside, 0.9, 0.4) + 0.05 * np.random.default_rng(seed).normal(size=len(labels))
    found = find_slices(features, labels, probabilities, attributes={"brightness": brightness}, seed=seed)
    worst = found.slices[0]
    assert worst.is_claimed and worst.gap.high < 0 and worst.accuracy.value < 0.5
    assert (
        inside[list(worst.examples)].all() and (probabilities.argmax(1) != labels)[list(worst.examples)].all()
    )
    assert [gap.name for gap in worst.attributes] == ["brightness"]
    assert worst.attributes[0].words.startswith("brighter (0.")


@pytest.mark.parametrize("seed", range(8))
def test_random_errors_make_no_slice(seed):
    features, labels, probabilities, _, _ = world(planted=False, seed=100 + seed)
    found = find_slices(features, labels, probabilities, seed=seed)
    assert found.slices and not found.claimed and not found.reason


def test_halves_share_the_failures_and_no_image():
    right = np.arange(101) % 10 > 0
    first, second = halves(right, seed=5)
    assert sorted([*first, *second]) == list(range(101))
    assert abs((~right[first]).sum() - (~right[second]).sum()) <= 1


def test_gap_of_shares_is_newcombes():
    """His example: 56/70 less 48/80 is 0.2 (0.0524 to 0.3339)."""
    found = newcombe(56, 70, 48, 80)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    assert wilson(56, 70).value - wilson(48, 80).value == pytest.approx(found.value)


def test_a_hard_class_is_no_slice():
    """One class is missed half of the time, wherever its images lie; every slice of it is like its class."""
    random = np.random.default_rng(0)
    labels = random.integers(4, size=600)
    features = random.normal(size=(600, 6)) + 12.0 * np.eye(4, 6)[labels]
    wrong = random.random(600) < np.where(labels == 2, 0.5, 0.05)
    assert not find_slices(features, labels, answers(labels, wrong, 4)).claimed


def test_test_within_classes_is_fishers_where_there_is_one_and_a_loops_where_there_are_two():
    right, inside = np.arange(40) % 3 > 0, np.arange(40) < 15
    table = [[(right & part).sum(), (~right & part).sum()] for part in (inside, ~inside)]
    wanted = stats.fisher_exact(table, alternative="less").pvalue
    assert within_labels(right, inside, np.zeros(40, int)) == pytest.approx(wanted)
    labels = np.arange(40) % 2
    random, hits = np.random.default_rng(0), 0
    for _ in range(4000):
        dealt = inside.copy()
        for one in (0, 1):
            dealt[labels == one] = random.permutation(inside[labels == one])
        hits += (right & dealt).sum() <= (right & inside).sum()
    assert within_labels(right, inside, labels) == pytest.approx(hits / 4000, abs=0.03)


def test_where_there_is_nothing_to_say_it_says_so():
    features, labels, _, _, _ = world(planted=False)
    for wrong, said in ((False, "are named right"), (True, "are named wrong")):
        found = find_slices(features, labels, answers(labels, np.full(len(labels), wrong)))
        assert not found.slices and said in found.reason
    few = find_slices(features[:30], labels[:30], answers(labels[:30], np.arange(30) % 3 == 0))
    assert not few.slices and "too few" in few.reason


def test_one_class_is_no_obstacle():
    features, labels, _, _, wrong = world(planted=True)
    found = find_slices(features, np.zeros_like(labels), answers(np.zeros_like(labels), wrong))
    assert found.claimed and found.slices[0].label == 0


def test_bad_input_is_refused():
    features, labels, probabilities, _, _ = world(planted=False, n=50)
    with pytest.raises(ValueError, match="more images than slices in each half"):
        find_slices(features, labels, probabilities, components=40)
    with pytest.raises(ValueError, match="at least one image for each"):
        fit_mixture(features[:3], labels[:3], probabilities[:3], 4)
    with pytest.raises(ValueError, match="finite features"):
        find_slices(features * np.nan, labels, probabilities)
    with pytest.raises(ValueError, match="of the same images"):
        find_slices(features, labels[:-1], probabilities)
    with pytest.raises(ValueError, match="columns of probabilities"):
        find_slices(features, labels + 3, probabilities)
    with pytest.raises(ValueError, match="emphasis of 0 or more"):
        fit_mixture(features, labels, probabilities, 2, emphasis=-1.0)


def separated(n, classes, *, planted, seed):
    """Classes 8.5 sd apart; an eighth of all images lie 6 sd beside the rest and mostly fail."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    features = random.normal(size=(n, classes + 2)) + 6.0 * np.eye(classes, classes + 2)[labels]
    inside = random.random(n) < 0.125
    wrong = random.random(n) < np.where(inside & planted, 0.8, 0.08)
    features[inside, -1] += 6.0 * planted
    return features, labels, answers(labels, wrong, classes), inside


@pytest.mark.parametrize(("classes", "n"), [(10, 400), (20, 1000)])
def test_a_slice_is_found_among_many_classes_that_lie_far_apart(classes, n):
    features, labels, probabilities, inside = separated(n, classes, planted=True, seed=classes)
    worst = find_slices(features, labels, probabilities, seed=1).slices[0]
    assert worst.is_claimed and inside[list(worst.examples)].all() and worst.gap.high < -0.3


def test_claims_on_nothing_are_rare_among_ten_classes():
    claims = 0
    for seed in range(20):
        features, labels, probabilities, _ = separated(400, 10, planted=False, seed=seed)
        found = find_slices(features, labels, probabilities, seed=seed)
        assert found.slices
        claims += bool(found.claimed)
    assert claims <= 1  # 5 % of 20 draws


def test_a_slice_within_one_of_four_classes_is_found():
    features, labels, _, _ = separated(1000, 4, planted=False, seed=2)
    random = np.random.default_rng(5)
    inside = (labels == 3) & (random.random(1000) < 0.4)
    features[inside, -1] += 8.0
    wrong = random.random(1000) < np.where(inside, 0.8, 0.08)
    worst = find_slices(features, labels, answers(labels, wrong, 4)).slices[0]
    assert worst.is_claimed and worst.label == 3 and inside[list(worst.examples)].all()


def test_class_means_are_those_of_the_finding_half():
    features = np.array([[1.0], [3.0], [10.0], [20.0], [7.0]])
    made = without_class_means(features, np.array([0, 0, 1, 1, 2]), np.array([0, 1, 2]))
    np.testing.assert_allclose(made[:, 0], [-1, 1, 0, 10, 7 - 14 / 3])


def test_whole_classes_are_said_to_be_beyond_a_test(monkeypatch):
    """In the testing half every image is its own class, so no slice has other images of its classes beside it."""
    random = np.random.default_rng(0)
    labels, wrong = np.array([*range(40), *range(40), *range(40, 80)]), random.random(120) < 0.3
    monkeypatch.setattr(slices, "halves", lambda right, seed: (np.arange(80), np.arange(80, 120)))
    found = find_slices(random.normal(size=(120, 4)), labels, answers(labels, wrong, 80))
    assert not found.slices and "whole classes" in found.reason
    assert not is_comparable(np.array([True, True, False]), np.array([0, 0, 1]))
    assert is_comparable(np.array([True, False, False]), np.array([0, 0, 1]))


def test_classes_of_one_image_leave_nothing_to_group():
    random = np.random.default_rng(0)
    labels, wrong = np.arange(120), random.random(120) < 0.3
    found = find_slices(random.normal(size=(120, 4)), labels, answers(labels, wrong, 120))
    assert not found.slices and "mean of its class" in found.reason
