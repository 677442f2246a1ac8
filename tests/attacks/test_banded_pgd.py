"""Bands of the Fourier plane, and an attack that keeps to one."""

import cmath
import math

import pytest
import torch
from tests.attacks import tiny

from archaeology.attacks import attack_images
from archaeology.attacks.bands import BANDS, in_band, part_in_band, share_outside
from archaeology.core.errors import UnknownNameError


def change(height=6, width=7):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)


def by_loops(plane, band):
    """Sum of the waves of the band, each found by a double sum over pixels."""
    height, width = len(plane), len(plane[0])
    found = [[0.0] * width for _ in range(height)]
    low, high = BANDS[band]
    for down in range(height):
        for across in range(width):
            share = [2 * min(at, size - at) / size for at, size in ((down, height), (across, width))]
            if not low <= math.hypot(*share) < high:
                continue

            def wave(row, column, down=down, across=across):
                return cmath.exp(2j * math.pi * (down * row / height + across * column / width))

            places = [(row, column) for row in range(height) for column in range(width)]
            weight = sum(plane[row][column] * wave(row, column).conjugate() for row, column in places)
            for row, column in places:
                found[row][column] += (weight * wave(row, column)).real / (height * width)
    return found


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("size", [(6, 7), (5, 4)])
def test_the_part_in_a_band_wave_by_wave(band, size):
    whole = change(*size)
    wanted = torch.tensor(by_loops(whole[1, 2].tolist(), band), dtype=torch.float64)
    torch.testing.assert_close(part_in_band(whole, band)[1, 2], wanted)


def test_bands_share_all_frequencies_among_them():
    assert torch.equal(sum(in_band(9, 8, band).int() for band in BANDS), torch.ones(9, 5, dtype=torch.int))
    whole = change()
    torch.testing.assert_close(sum(part_in_band(whole, band) for band in BANDS), whole)


def test_the_share_outside_is_of_energy():
    whole = change()
    inside = part_in_band(whole, "middle")
    torch.testing.assert_close(share_outside(inside, "middle"), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(
        share_outside(whole, "middle"),
        1 - inside.square().sum((1, 2, 3)) / whole.square().sum((1, 2, 3)),
    )
    assert share_outside(torch.zeros(2, 3, 5, 7), "low").tolist() == [0, 0]


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_change_lies_mostly_in_its_band(band, norm):
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 5)
    images = 0.25 + images / 2  # far from 0 and 1: only epsilon is cut
    with torch.no_grad():
        labels = specimen.predict(images).argmax(dim=1)
    epsilon = {"linf": 0.1, "l2": 1.0}[norm]
    result = attack_images("banded_pgd", specimen, images, labels, epsilon=epsilon, norm=norm, band=band)
    outside = share_outside(result.images - images, band)
    assert (outside < {"linf": 0.25, "l2": 1e-6}[norm]).all()
    free = attack_images("pgd", specimen, images, labels, epsilon=epsilon, norm=norm)
    assert (outside < share_outside(free.images - images, band)).all()


def test_more_rounds_leave_less_outside():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 5)
    outside = [
        share_outside(
            attack_images("banded_pgd", specimen, images, labels, epsilon=0.02, rounds=rounds).images
            - images,
            "low",
        ).mean()
        for rounds in (1, 9)
    ]
    assert outside[1] < outside[0]


def test_an_unknown_band_gets_the_near_miss():
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    with pytest.raises(UnknownNameError, match="No band is called 'middlee'; did you mean 'middle'"):
        attack_images("banded_pgd", specimen, images, labels, epsilon=0.1, band="middlee")
