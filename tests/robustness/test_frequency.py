import math

import numpy as np
import pytest
import torch
from tests.robustness.models import images, network, own_answers, transformer

from archaeology.core.seeding import content_names, torch_generator
from archaeology.robustness.filters import high_pass, low_pass
from archaeology.robustness.fourier import MOST_SIGNS, fourier_sensitivity, plane_wave
from archaeology.robustness.pass_curves import pass_curves
from archaeology.robustness.spectrum import spectrum_of_change


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 6)])
def test_a_wave_has_two_coefficients_and_unit_strength(size):
    for u in range(-(size[0] // 2), size[0] // 2 + 1):
        for v in range(size[1] // 2 + 1):
            wave = plane_wave((u, v), size)
            assert float(wave.square().mean()) == pytest.approx(1)
            power = torch.fft.fft2(wave).abs()
            places = {(u % size[0], v % size[1]), (-u % size[0], -v % size[1])}
            assert {tuple(place) for place in (power > 1e-6).nonzero().tolist()} == places


def test_every_frequency_of_half_the_plane_is_asked_one_by_one():
    models, some = [transformer(), network()], images(4)
    labels = own_answers(models[1], some)
    found = fourier_sensitivity(models, some, labels, rms=0.3, seed=5, at_once=3)
    assert found.down == (-3, -2, -1, 0, 1, 2, 3) and found.right == (0, 1, 2, 3, 4)
    assert found.clean[1].all() and found.correct.shape == (2, 7, 5, 4)
    assert found.norm == pytest.approx(0.3 * math.sqrt(54))
    names, turns, seen = content_names(some), {}, 0
    for row, u in enumerate(found.down):
        for column, v in enumerate(found.right):
            wave = min((u % 6, v % 9), (-u % 6, -v % 9))
            turn = turns.setdefault(wave, len(turns)) % MOST_SIGNS
            for i in range(4):
                generator = torch_generator(5, "fourier", names[i])
                signs = 2 * torch.randint(0, 2, (MOST_SIGNS, 3), generator=generator)[turn] - 1
                noise = 0.3 * signs[:, None, None] * plane_wave(wave, (6, 9))
                noisy = (some[i] + noise).clamp(0, 1)[None]
                for m, model in enumerate(models):
                    right = bool(own_answers(model, noisy)[0] == labels[i])
                    assert found.correct[m, row, column, i] == right
                    seen += not right
    assert seen > 0
    assert len(turns) == 6 * 9 // 2 + 1  # zero, Nyquist's half, and one of each pair


def test_the_plane_is_symmetric_and_rings_are_its_means():
    model, some = network(), images(6)
    found = fourier_sensitivity([model], some, own_answers(model, some), rms=0.5)
    plane = found.plane("network")
    assert plane.shape == (7, 9) and plane.max() > 0
    np.testing.assert_array_equal(plane, plane[::-1, ::-1])
    rows, columns = np.arange(-3, 3), np.arange(-4, 5)  # -3 and 3 are one frequency
    radius = np.hypot(2 * rows[:, None] / 6, 2 * columns / 9)
    for ring in found.rings("network", (0.0, 0.5, 0.9, 1.5)):
        inside = (radius >= ring["low"]) & (radius < ring["high"])
        assert ring["error"] == pytest.approx(plane[:6][inside].mean())
        assert ring["error_low"] <= ring["error"] <= ring["error_high"] and ring["n"] == 6
    described = found.describe()
    assert described["models"]["network"]["clean"]["error"] == 0


def test_large_images_may_ask_fewer_frequencies():
    model, some = network(), images(3, 12, 14)
    found = fourier_sensitivity([model], some, own_answers(model, some), every=3)
    assert found.down == (-6, -3, 0, 3, 6) and found.right == (0, 3, 6)


def test_filters_keep_what_they_should():
    size = (16, 18)
    coarse, fine = 0.05 * plane_wave((1, 2), size), 0.05 * plane_wave((6, 5), size)
    images = (0.5 + coarse + fine).expand(2, 3, *size).clone()
    images[1] = 0.25 + coarse - fine
    mean = torch.tensor([0.5, 0.25], dtype=torch.float64)[:, None, None, None].expand_as(images)
    torch.testing.assert_close(low_pass(images, 0.5), mean + coarse)
    torch.testing.assert_close(high_pass(images, 0.5)[0], (mean + fine)[0])
    torch.testing.assert_close(high_pass(images, 0.5)[1], (mean - fine)[1])
    torch.testing.assert_close(low_pass(images, 1.5), images)
    torch.testing.assert_close(high_pass(images, 0.0), images)
    torch.testing.assert_close(low_pass(images, 0.0), mean)
    with pytest.raises(ValueError, match="cutoff must be a share of Nyquist >= 0"):
        low_pass(images, -0.1)


def test_curves_over_the_cutoff_ask_each_model_about_each_image():
    models, some = [transformer(), network()], images(5, 12, 15)
    labels = own_answers(models[0], some)
    found = pass_curves(models, some, labels, cutoffs=(0.2, 0.6, 1.5), at_once=2)
    assert found.clean[0].all() and found.correct[:, 0, 2].tolist() == found.clean.tolist()
    for which, edit in enumerate((low_pass, high_pass)):
        for place, cutoff in enumerate(found.cutoffs):
            for m, model in enumerate(models):
                for i in range(5):
                    right = bool(own_answers(model, edit(some[i : i + 1], cutoff))[0] == labels[i])
                    assert found.correct[m, which, place, i] == right
    rows = found.describe()["table"]
    assert len(rows) == 12
    assert rows[2]["lost"] == 0 and rows[0]["accuracy"] == pytest.approx(found.correct[0, 0, 0].mean())
    assert rows[0]["accuracy_low"] <= rows[0]["accuracy"] <= rows[0]["accuracy_high"]


@pytest.mark.parametrize("size", [(16, 16), (15, 18), (17, 13)])
def test_the_spectrum_sums_the_whole_plane_ring_by_ring(size):
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 3, 2, *size, generator=generator, dtype=torch.float64).unbind(0)
    second[1] = first[1]
    found = spectrum_of_change(first, second, edges=(0.0, 0.3, 0.8, 1.5))
    assert np.isnan(found.shares[1]).all() and len(found.changed) == 2
    radius = np.hypot(*np.meshgrid(2 * np.fft.fftfreq(size[0]), 2 * np.fft.fftfreq(size[1]), indexing="ij"))
    for i in (0, 2):
        power = (np.abs(np.fft.fft2((second - first)[i].numpy())) ** 2).sum(axis=0)
        for ring, (low, high) in enumerate(((0, 0.3), (0.3, 0.8), (0.8, 1.5))):
            inside = (radius >= low) & (radius < high)
            assert found.shares[i, ring] == pytest.approx(power[inside].sum() / power.sum())
            assert found.white[ring] == pytest.approx(inside.mean())


def test_white_noise_has_the_density_of_white_noise():
    noise = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grey = torch.full_like(noise, 0.5)
    described = spectrum_of_change(grey, grey + 0.01 * noise).describe()
    assert described["n"] == 40 and described["unchanged"] == 0
    for ring in described["rings"]:
        assert ring["density"] == pytest.approx(1, abs=0.15)
        assert ring["share_low"] <= ring["share"] <= ring["share_high"]


def test_bad_input_is_refused():
    model, some = network(), images(2)
    labels = torch.zeros(2, dtype=torch.long)
    for wrong in ({"rms": 0.0}, {"rms": 2.0}, {"every": 0}):
        with pytest.raises(
            ValueError, match="rms must lie above 0 and be at most 1, and every be at least 1"
        ):
            fourier_sensitivity([model], some, labels, **wrong)
    found = fourier_sensitivity([model], some, labels, every=3)
    with pytest.raises(ValueError, match="specimen must be one of network, but got 'other'"):
        found.errors("other")
    for cutoffs in ((), (0.5, 0.2), (-0.1,)):
        with pytest.raises(ValueError, match="cutoffs must be shares of Nyquist that ascend"):
            pass_curves([model], some, labels, cutoffs=cutoffs)
    with pytest.raises(ValueError, match="original and changed must be the same images"):
        spectrum_of_change(some, some[:1])
    for edges in ((0.0, 0.5), (0.1, 1.5), (0.0, 0.9, 0.8, 1.5), (0.0, 0.01, 0.011, 1.5)):
        with pytest.raises(ValueError, match="edges must ascend from 0 to beyond the corner"):
            spectrum_of_change(some, some, edges=edges)
    with pytest.raises(ValueError, match="at least one image that was changed"):
        spectrum_of_change(some, some, edges=(0.0, 0.9, 1.5)).describe()
