"""A probe is scikit-learn's pipeline, chosen without a look at the test images."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.represent.made_up import classes, features, random

from archaeology.represent import few_shot, linear_probe, probe, read_by_layer


def pair(spread=2.0):
    return (*classes(60, spread=spread), *classes(41, spread=spread, start=100))


def test_it_equals_scikit_learn():
    train, labels, test, truth = pair()
    found = linear_probe(train, labels, test, truth, strengths=(0.1,))
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(train.values, labels)
    np.testing.assert_array_equal(found.predicted, peer.predict(test.values))
    assert found.accuracy.value == pytest.approx(peer.score(test.values, truth))
    assert found.train_accuracy == pytest.approx(peer.score(train.values, labels))
    assert found.has_converged and found.validation == ()


def test_the_slope_of_the_penalised_loss_is_zero_where_it_stops():
    train, labels, _, _ = pair()
    scaler, model, _ = probe._fitted(train.values, labels, 0.1)
    rows = scaler.transform(train.values)
    scores = rows @ model.coef_.T + model.intercept_
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    slope = (shares - np.eye(3)[labels]).T @ rows * 0.1 + model.coef_
    assert np.abs(slope).max() < 1e-2


def test_the_penalty_is_chosen_by_cross_validation_and_the_strongest_of_equals_wins():
    train, labels, test, truth = pair()
    found = linear_probe(train, labels, test, truth, strengths=(1e-4, 1.0, 100.0), folds=3)
    best = max(score for _, score in found.validation)
    assert found.strength == min(c for c, score in found.validation if score == best)
    same = linear_probe(train, labels, test, 2 - truth, strengths=(1e-4, 1.0, 100.0), folds=3)
    assert same.strength == found.strength and same.validation == found.validation


def test_a_solver_that_did_not_arrive_says_so(monkeypatch):
    train, labels, test, truth = pair()
    monkeypatch.setattr(probe, "STEPS", 2)
    assert not linear_probe(train, labels, test, truth, strengths=(100.0,)).has_converged


def test_more_shots_are_better_and_draws_are_kept():
    train, labels, test, truth = pair(spread=1.5)
    found = few_shot(train, labels, test, truth, shots=(1, 5, 20), draws=4)
    assert found.draws.shape == (3, 4) and found.num_test == 41
    means = [interval.value for interval in found.accuracy]
    np.testing.assert_allclose(means, found.draws.mean(1))
    assert means[0] < means[2] and found.accuracy[0].n == 41
    assert np.ptp(found.draws[2]) == 0  # all images there are
    assert found.accuracy[2].low < means[2] < found.accuracy[2].high  # other images would give another number


def test_layers_are_read_one_by_one():
    train, labels, test, truth = pair(spread=1.5)
    noise = [
        features(random(len(part), 5, seed), "noise", part.ids) for seed, part in enumerate((train, test))
    ]
    found = read_by_layer([noise[0], train], labels, [noise[1], test], truth, ks=(1, 5), strengths=(1.0,))
    assert [one.layer for one in found.layers] == ["noise", "layer"] and found.chance == pytest.approx(1 / 3)
    assert found.layers[0].probe.value < found.layers[1].probe.value
    assert len(found.layers[0].neighbours) == 2
    assert read_by_layer([train], labels, [test], truth, ks=(1,), strengths=()).layers[0].probe is None
    with pytest.raises(ValueError, match="the same layers"):
        read_by_layer([train], labels, [noise[1]], truth)


def test_bad_input_is_refused():
    train, labels, test, truth = pair()
    with pytest.raises(ValueError, match="at least two classes"):
        linear_probe(train, labels * 0, test, truth)
    with pytest.raises(ValueError, match="60 are in both"):
        linear_probe(train, labels, train, labels)
    with pytest.raises(ValueError, match="of one layer"):
        linear_probe(train, labels, features(random(5, 2), ids=list("abcde")), truth[:5])
    with pytest.raises(ValueError, match="as many images in every class"):
        linear_probe(train.rows(np.arange(7)), labels[:7], test, truth)
    with pytest.raises(ValueError, match="strengths must be positive"):
        linear_probe(train, labels, test, truth, strengths=(0.0,))
    with pytest.raises(ValueError, match="features that vary"):
        linear_probe(features(np.ones((60, 7))), labels, test, truth, strengths=(1.0,))
    with pytest.raises(ValueError, match="a class with 20 images"):
        few_shot(train, labels, test, truth, shots=(1, 50))
    with pytest.raises(ValueError, match="draws >= 2"):
        few_shot(train, labels, test, truth, shots=(1,), draws=1)
    holed = train.values.copy()
    holed[2] = np.nan
    with pytest.raises(ValueError, match="number 2"):
        linear_probe(features(holed), labels, test, truth)
