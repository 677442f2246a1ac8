"""Attention on failures: values against patterns and rollout, the gap within classes against least squares."""

import numpy as np
import pytest
import torch

from archaeology.capture.record import capture
from archaeology.explain.method import explain
from archaeology.failures.attention import (
    AttentionLook,
    attention_look,
    class_gap,
    compare_attention,
    mass_over_even,
    specimens_of,
)
from archaeology.specimens.load import load


@pytest.fixture(scope="module")
def vit():
    return load("bundled:vit_cue_conflict", device="cpu")


@pytest.fixture(scope="module")
def images(vit):
    return torch.rand(5, 3, *vit.image_size, generator=torch.Generator().manual_seed(0))


def world(seed, shift=0.0, n=300):
    """Values that differ between classes a lot, and between failures and successes by `shift`."""
    random = np.random.default_rng(seed)
    labels = random.integers(4, size=n)
    right = random.random(n) > np.array([0.05, 0.2, 0.4, 0.6])[labels]
    return 3.0 * labels + shift * ~right + random.normal(size=n), right, labels


def test_values_are_those_of_patterns_and_rollout(vit, images):
    inside = torch.zeros(5, vit.layout.num_patches)
    inside[:, :7] = 1.0
    inside[4] = torch.nan
    look = attention_look(vit, images, inside, at_once=2)
    record = capture(vit, images)
    patterns = record.stack().double()
    layers, _, heads, queries, keys = patterns.shape
    prefix, columns = vit.layout.num_prefix, vit.layout.columns
    side = vit.image_size[0] / vit.layout.rows
    last = patterns[-1, 2]
    if vit.layout.readout == "class_token":
        row = last[:, vit.layout.class_token]
    else:
        row = last[:, prefix:].mean(1)
    entropy = np.mean([-sum(float(w * w.log()) for w in row[h] if w > 0) for h in range(heads)])
    np.testing.assert_allclose(look.entropy[2, -1], entropy, rtol=1e-5)
    total = 0.0
    for head in range(heads):
        for query in range(prefix, queries):
            away, mass = 0.0, 0.0
            for key in range(prefix, keys):
                (a, b), (c, d) = divmod(query - prefix, columns), divmod(key - prefix, columns)
                away += float(last[head, query, key]) * side * ((a - c) ** 2 + (b - d) ** 2) ** 0.5
                mass += float(last[head, query, key])
            total += away / mass
    np.testing.assert_allclose(look.distance[2, -1], total / heads / (queries - prefix), rtol=1e-4)
    patches = row.mean(0)[prefix:]
    wanted = float(patches[:7].sum() / patches.sum()) / (7 / vit.layout.num_patches)
    np.testing.assert_allclose(look.object_mass[2], wanted, rtol=1e-5)
    assert np.isnan(look.object_mass[4]) and np.isnan(look.rollout_mass[4])
    np.testing.assert_allclose(look.rollout, explain("rollout", record).heatmap.numpy(), atol=1e-6)
    assert look.entropy.shape == (5, layers) and len(look.modules) == layers


def test_the_gap_is_that_of_least_squares_with_a_mean_for_each_class():
    values, right, labels = world(0, 0.5)
    found = class_gap(values, right, labels, permutations=99)
    design = np.column_stack([~right, *(labels == c for c in range(4))]).astype(float)
    fitted, *_ = np.linalg.lstsq(design, values, rcond=None)
    np.testing.assert_allclose(found.gap.value, fitted[0])
    inverse = np.linalg.inv(design.T @ design)
    leverage = np.einsum("nd,de,ne->n", design, inverse, design)
    scaled = design * ((values - design @ fitted) / (1 - leverage))[:, None]
    error = np.sqrt((inverse @ scaled.T @ scaled @ inverse)[0, 0])
    np.testing.assert_allclose((found.gap.high - found.gap.low) / 2 / error, 1.968, atol=2e-3)


def test_a_planted_gap_is_found_and_classes_alone_make_none():
    found = class_gap(*world(1, 1.0))
    assert found.gap.low > 0 and found.p_value < 0.001 and found.gap.low < 1.0 < found.gap.high
    nulls = [class_gap(*world(100 + seed), permutations=999) for seed in range(40)]
    assert sum(one.p_value < 0.05 for one in nulls) <= 6  # 2 expected
    assert sum(one.gap.excludes(0.0) for one in nulls) <= 6
    values, right, _ = world(3)
    assert class_gap(values, right, np.zeros(300, int)).p_value < 0.001  # were classes not told apart


def test_p_value_is_that_of_all_permutations():
    values = np.array([0.0, 1.0, 2.0, 9.0, 4.0, 5.5, 7.0, 3.0, 8.0, 2.5])
    right = np.array([True] * 5 + [False] * 5)
    labels = np.zeros(10, int)
    from itertools import combinations

    seen = abs(values[~right].mean() - values[right].mean())
    every = [
        abs(values[list(some)].mean() - np.delete(values, some).mean()) >= seen - 1e-9
        for some in combinations(range(10), 5)
    ]
    assert class_gap(values, right, labels).p_value == pytest.approx(np.mean(every), abs=0.01)


def test_comparison_names_what_is_missing():
    values, right, labels = world(5, 1.0)
    nothing = np.full(300, np.nan)
    look = AttentionLook(
        np.stack([values, values + 1], axis=1),
        np.stack([values, values[::-1]], axis=1),
        nothing,
        values,
        np.zeros((300, 2, 2)),
        ("a", "b"),
    )
    found = compare_attention(look, right, labels)
    assert [gap.name for gap in found.gaps] == ["entropy", "distance", "rollout_mass"]
    assert "0 failures and 0 successes" in found.missing["object_mass"]
    assert [(gap.name, gap.layer) for gap in found.by_layer][:3] == [
        ("entropy", 0),
        ("entropy", 1),
        ("distance", 0),
    ]


@pytest.mark.parametrize("right", [np.ones(20, bool), np.zeros(20, bool), np.arange(20) % 2 > 0])
def test_without_both_in_a_class_nothing_is_compared(right):
    """No failure, no success, or classes that are all right or all wrong."""
    found = class_gap(np.arange(20.0), right, (np.arange(20) % 2).astype(int))
    assert isinstance(found, str) and "5 of each are needed" in found


def test_mass_is_over_an_even_share_and_unknown_where_it_says_nothing():
    weights = torch.tensor([[3.0, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    inside = torch.tensor([[1.0, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    found = mass_over_even(weights, inside)
    assert found[:2].tolist() == [3.0, 1.0] and found[2:].isnan().all()


def test_specimens_are_sure_failures_beside_successes_of_their_class():
    right = np.array([False, True, True, False, False, True])
    labels = np.array([0, 0, 0, 1, 0, 0])
    sure = np.array([0.5, 0.4, 0.9, 1.0, 0.8, 0.1])
    assert specimens_of(right, labels, sure, 5) == [(4, 2), (0, 1)]  # image 3 is alone in its class


def test_bad_input_is_refused(vit, images):
    with pytest.raises(ValueError, match="has no tokens"):
        attention_look(load("bundled:convnet_cue_conflict", device="cpu"), images)
    with pytest.raises(ValueError, match="inside of shape"):
        attention_look(vit, images, torch.zeros(5, 3))
    with pytest.raises(ValueError, match="of the same images"):
        class_gap(np.zeros(4), np.zeros(3, bool), np.zeros(4, int))


def test_permutations_of_many_images_are_fewer(monkeypatch):
    """Their cost is images times permutations: what is dealt is capped, down to 1,999 permutations."""
    from archaeology.failures import attention

    monkeypatch.setattr(attention, "MOST_DEALT", 1)
    right, labels = np.arange(60) % 2 == 0, np.zeros(60, int)
    found = attention.class_gap(np.where(right, 0.0, 9.0), right, labels)
    assert found.p_value == 1 / 2000
