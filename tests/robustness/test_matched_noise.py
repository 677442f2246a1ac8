"""Noise with the attack's own sizes, and the divergence that tells how far rows moved."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from tests.oracles import attention_shift as oracle
from tests.robustness import models

from archaeology.attacks.norms import distances
from archaeology.core.seeding import content_names
from archaeology.robustness.jensen_shannon import jensen_shannon
from archaeology.robustness.matched_noise import matched_noise


def moved(clean, size=0.1, seed=0):
    drawn = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=clean.dtype)
    return (clean + size * drawn).clamp(0, 1)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 999), keys=st.integers(1, 9), zeros=st.booleans())
def test_divergence_equals_loops_and_scipy(seed, keys, zeros):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(2, 4, keys, generator=generator, dtype=torch.float64) ** 3
    if zeros and keys > 1:
        rows[:, 0, 0] = 0
        rows[0, 1, -1] = 0
    first, second = rows / rows.sum(dim=-1, keepdim=True)
    found = jensen_shannon(first, second)
    torch.testing.assert_close(found, jensen_shannon(second, first))
    for row in range(4):
        wanted = oracle.jensen_shannon(first[row].tolist(), second[row].tolist())
        assert float(found[row]) == pytest.approx(wanted, abs=1e-14)
        assert float(found[row]) == pytest.approx(
            distance.jensenshannon(first[row], second[row]) ** 2, abs=1e-9
        )
    assert (found >= 0).all() and (found <= math.log(2) + 1e-12).all()


def test_divergence_of_rows_with_nothing_in_common_is_log_two():
    assert float(jensen_shannon(torch.tensor([1.0, 0]), torch.tensor([0, 1.0]))) == pytest.approx(math.log(2))


def test_small_divergences_keep_their_digits():
    """Two rows a ten-thousandth apart, in float32: d^2 / 8 per key."""
    first = torch.full((1, 64), 1 / 64)
    step = 1e-4 / 64 * torch.tensor([1.0, -1.0]).repeat(32)
    found = float(jensen_shannon(first, first + step))
    assert found == pytest.approx(1e-8 / 8, rel=0.02)
    assert float(jensen_shannon(first, first)) == 0


@pytest.mark.parametrize("size", [0.03, 0.4])
def test_noise_has_all_the_norms_of_the_attack_and_stays_in_range(size):
    clean = models.images(5)
    clean[0] = 0.0
    clean[1] = 1.0
    attacked = moved(clean, size)
    attacked[2] = clean[2]
    attacked[2, :, 1:3, 2:5] = 0.5  # a patch
    small = (
        ((attacked - clean).abs() <= 0.5).all(dim=(1, 2, 3))
        if size < 0.1
        else torch.zeros(5, dtype=torch.bool)
    )
    noisy = matched_noise(clean, attacked, content_names(clean), seed=1)
    assert (noisy >= 0).all() and (noisy <= 1).all()
    of_attack, of_noise = distances(attacked, clean), distances(noisy, clean)
    for norm in ("linf", "l2", "l1"):
        torch.testing.assert_close(of_noise[norm][small], of_attack[norm][small])
        assert (of_noise[norm] <= of_attack[norm] + 1e-12).all()
    assert small[:2].all() or size > 0.1


def test_noise_knows_nothing_of_place_and_sign():
    clean = torch.full((1, 3, 6, 9), 0.5, dtype=torch.float64)
    attacked = clean.clone()
    attacked[0, 0, 0, :3] += 0.25
    signs = set()
    places = set()
    for seed in range(20):
        change = matched_noise(clean, attacked, ["a"], seed) - clean
        assert (change != 0).sum() == 3 and change.abs().max() == 0.25
        signs |= set(change[change != 0].sign().tolist())
        places |= {tuple(place) for place in change.nonzero().tolist()}
    assert signs == {-1.0, 1.0} and len(places) > 40


def test_noise_of_an_image_is_the_same_alone():
    clean = models.images(4)
    attacked = moved(clean)
    together = matched_noise(clean, attacked, content_names(clean), 3)
    for number in range(4):
        one = clean[[number]]
        assert torch.equal(matched_noise(one, attacked[[number]], content_names(one), 3)[0], together[number])
