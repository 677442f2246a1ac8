"""Hybrids of one image's phases and another's amplitudes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from archaeology.robustness.phase_bias import hybrids, partners, phase_bias
from archaeology.specimens.specimen import Specimen


def images(count, height=5, width=6):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count)) * 0.2 + 0.4


def transform(plane):
    height, width = plane.shape
    return [
        [
            sum(
                float(plane[y, x]) * np.exp(-2j * math.pi * (u * y / height + v * x / width))
                for y in range(height)
                for x in range(width)
            )
            for v in range(width)
        ]
        for u in range(height)
    ]


def back(spectrum, height, width):
    return [
        [
            sum(
                spectrum[u][v] * np.exp(2j * math.pi * (u * y / height + v * x / width))
                for u in range(height)
                for v in range(width)
            ).real
            / (height * width)
            for x in range(width)
        ]
        for y in range(height)
    ]


def test_hybrids_equal_loops():
    phase, amplitude = images(2).split(1)
    found = hybrids(phase, amplitude)[0]
    for channel in range(3):
        first, second = transform(phase[0, channel]), transform(amplitude[0, channel])
        mixed = [
            [abs(b) * np.exp(1j * np.angle(a)) for a, b in zip(*rows, strict=True)]
            for rows in zip(first, second, strict=True)
        ]
        expected = torch.tensor(back(mixed, 5, 6)).clamp(0, 1).float()
        torch.testing.assert_close(found[channel], expected, rtol=0, atol=1e-6)


def test_a_hybrid_of_an_image_with_itself_is_the_image():
    same = images(3)
    torch.testing.assert_close(hybrids(same, same), same, rtol=0, atol=1e-6)


def test_partners_are_of_another_class_and_each_such_image_may_be_one():
    labels = torch.tensor([0, 0, 1, 2, 2, 2] * 50)
    chosen = partners(labels, seed=1)
    assert (labels[chosen] != labels).all()
    assert len(set(chosen.tolist())) > 150
    assert torch.equal(chosen, partners(labels, seed=1)) and not torch.equal(chosen, partners(labels, seed=2))


class Reader(nn.Module):
    """Says class 0 where the mean, which only amplitudes hold, is small; or class 0 where the left half is darker."""

    def __init__(self, of_phase):
        super().__init__()
        self.of_phase = of_phase

    def forward(self, normalised):
        grey = normalised.mean(dim=1)
        half = grey.shape[-1] // 2
        value = (
            grey[..., half:].mean(dim=(1, 2)) - grey[..., :half].mean(dim=(1, 2))
            if self.of_phase
            else 0.5 - grey.mean(dim=(1, 2))
        )
        return torch.stack([value, -value], dim=1)


def test_a_model_that_reads_outlines_and_one_that_reads_brightness_are_told_apart():
    ramp = torch.linspace(-0.1, 0.1, 8).expand(40, 3, 6, 8)
    dark_and_rising, bright_and_falling = 0.4 + ramp, 0.6 - ramp
    labels = torch.arange(80) % 2
    pictures = torch.stack([dark_and_rising, bright_and_falling], dim=1).flatten(0, 1)
    plain = Specimen("outlines", Reader(True), "other", ("a", "b"), (6, 8), (0.0,) * 3, (1.0,) * 3)
    other = replace(plain, name="brightness", model=Reader(False))
    found = phase_bias([plain, other], pictures, labels, ("a", "b"), cutoffs=())
    assert found.share("outlines").value == 1.0 and found.share("brightness").value == 0.0
    assert found.difference("outlines", "brightness").low == 1.0


def test_images_of_one_class_are_refused():
    with pytest.raises(ValueError, match="at least two classes, but all are of one"):
        partners(torch.zeros(4, dtype=torch.long))
