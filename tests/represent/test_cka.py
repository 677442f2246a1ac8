"""CKA is what the papers' sums say, and does not change with what it must not see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.represent.made_up import features, random

from archaeology.core.errors import UnknownNameError
from archaeology.represent import cka, procrustes_distance
from archaeology.represent.hsic import hsic, linear_gram


def gram_by_loops(values, kernel, width):
    n = len(values)
    distances = [
        sum((a - b) ** 2 for a, b in zip(values[i], values[j], strict=True)) ** 0.5
        for i in range(n)
        for j in range(i + 1, n)
    ]
    sigma = width * float(np.median(distances))
    gram = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if kernel == "linear":
                gram[i, j] = sum(a * b for a, b in zip(values[i], values[j], strict=True))
            else:
                square = sum((a - b) ** 2 for a, b in zip(values[i], values[j], strict=True))
                gram[i, j] = np.exp(-square / (2 * sigma**2))
    return gram


def unbiased_by_loops(one, other):
    """Song et al. 2012, equation 5: traces and sums, diagonals zero."""
    n = len(one)
    trace = total = both = 0.0
    sums = [0.0, 0.0]
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            trace += one[i, j] * other[j, i]
            sums[0] += one[i, j]
            sums[1] += other[i, j]
            for k in range(n):
                if k != j:
                    both += one[i, j] * other[j, k]
    total = sums[0] * sums[1] / ((n - 1) * (n - 2))
    return (trace + total - 2 * both / (n - 2)) / (n * (n - 3))


def biased_by_loops(one, other):
    """Gretton et al. 2005: trace of K H L H over (n - 1)^2."""
    n = len(one)
    h = np.array([[float(i == j) - 1 / n for j in range(n)] for i in range(n)])
    made = 0.0
    for i in range(n):
        for j in range(n):
            for k in range(n):
                for m in range(n):
                    made += one[i, j] * h[j, k] * other[k, m] * h[m, i]
    return made / (n - 1) ** 2


BY_LOOPS = {"unbiased": unbiased_by_loops, "biased": biased_by_loops}


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_it_equals_the_formula_by_loops(kernel, estimator):
    one, other = random(11, 5), random(11, 3, seed=1)
    other[:, 0] += one[:, 0]
    grams = [gram_by_loops(values, kernel, 0.8) for values in (one, other)]
    sums = [BY_LOOPS[estimator](grams[a], grams[b]) for a, b in ((0, 1), (0, 0), (1, 1))]
    found = cka(features(one), features(other), kernel=kernel, estimator=estimator, width=0.8)
    assert found == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]), rel=1e-9)
    assert hsic(grams[0], grams[1], estimator=estimator) == pytest.approx(sums[0], rel=1e-9)


def test_linear_biased_cka_is_kornbliths_feature_formula():
    one, other = random(13, 5), random(13, 7, seed=1)
    x, y = one - one.mean(0), other - other.mean(0)
    expected = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert cka(features(one), features(other), estimator="biased") == pytest.approx(expected, rel=1e-10)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 999), factor=st.floats(0.01, 100), kernel=st.sampled_from(["linear", "rbf"]))
def test_rotation_scale_and_shift_change_nothing_and_sides_may_be_exchanged(seed, factor, kernel):
    one, other = random(11, 5, seed), random(11, 3, seed + 1)
    rotation, _ = np.linalg.qr(random(5, 5, seed + 2))
    moved = features(factor * one @ rotation + 0.3)
    for estimator in ("unbiased", "biased"):
        plain = cka(features(one), features(other), kernel=kernel, estimator=estimator)
        assert cka(moved, features(other), kernel=kernel, estimator=estimator) == pytest.approx(
            plain, abs=1e-8
        )
        assert cka(features(other), moved, kernel=kernel, estimator=estimator) == pytest.approx(
            plain, abs=1e-8
        )
        assert cka(moved, features(one), kernel=kernel, estimator=estimator) == pytest.approx(1, abs=1e-8)


def test_an_uneven_stretch_does_change_it():
    one = random(11, 5)
    assert cka(features(one * [1, 1, 1, 1, 9]), features(one)) < 0.9


def test_features_that_have_nothing_in_common_are_near_zero_only_without_bias():
    pairs = [(features(random(20, 50, s)), features(random(20, 50, s + 100))) for s in range(40)]
    unbiased = np.array([cka(*pair) for pair in pairs])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / np.sqrt(40)
    assert min(cka(*pair, estimator="biased") for pair in pairs) > 0.4


def test_procrustes_is_a_metric_blind_to_rotation():
    one, other, third = (features(random(11, 5, seed)) for seed in range(3))
    rotation, _ = np.linalg.qr(random(5, 5, 9))
    assert procrustes_distance(one, features(one.values @ rotation * 7)) == pytest.approx(0, abs=1e-6)
    assert procrustes_distance(one, other) == pytest.approx(procrustes_distance(other, one))
    assert procrustes_distance(one, third) <= procrustes_distance(one, other) + procrustes_distance(
        other, third
    )


def test_constant_features_are_refused_by_name():
    same = features(np.full((11, 5), 1e3, np.float32) * np.ones((11, 1), np.float32), layer="blocks.3")
    with pytest.raises(ValueError, match=r"not defined where all images have the same features.*blocks\.3"):
        cka(features(random(11, 5)), same)
    with pytest.raises(ValueError, match="no shape is left"):
        procrustes_distance(same, same)


def test_bad_input_is_refused():
    one = features(random(11, 5))
    with pytest.raises(ValueError, match="images that differ"):
        cka(one, features(random(11, 5), ids=[f"other {row}" for row in range(11)]))
    with pytest.raises(ValueError, match="in another order"):
        cka(one, features(random(11, 5), ids=one.ids[::-1]))
    with pytest.raises(ValueError, match="11 and 7 images"):
        cka(one, features(random(7, 5)))
    holed = random(11, 5)
    holed[4, 2] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite for 1 of 11 images \(the first is number 4\)"):
        cka(one, features(holed))
    with pytest.raises(ValueError, match="at least 4 images"):
        cka(features(random(3, 5)), features(random(3, 5)))
    with pytest.raises(UnknownNameError, match="linear"):
        cka(one, one, kernel="liner")
    with pytest.raises(UnknownNameError, match="unbiased"):
        cka(one, one, estimator="unbaised")
    with pytest.raises(ValueError, match="width must be positive"):
        cka(one, one, kernel="rbf", width=0.0)
    twice = features(np.repeat(random(2, 5), [9, 2], axis=0))
    with pytest.raises(ValueError, match="most images have the same features"):
        cka(one, twice, kernel="rbf")
    with pytest.raises(ValueError, match="same images, but got 11 and 7"):
        hsic(linear_gram(random(11, 5)), linear_gram(random(7, 5)))
