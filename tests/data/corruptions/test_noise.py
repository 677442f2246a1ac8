"""Random ones cannot be compared number by number: their moments can, on a quarter of a million draws."""

import pytest
import torch

from archaeology.data.corruptions import corrupt


def flat(level: float, channels: int = 3) -> torch.Tensor:
    return torch.full((1, channels, 288, 304), level, dtype=torch.float64)


@pytest.mark.parametrize("level", [0.45, 0.55])
def test_gaussian_and_speckle_noise_have_their_deviation(level: float) -> None:
    noise = corrupt(flat(level), "gaussian_noise", 1) - level
    assert abs(float(noise.mean())) < 1e-3 and float(noise.std()) == pytest.approx(0.08, rel=0.01)
    noise = corrupt(flat(level), "speckle_noise", 2) - level
    assert float(noise.std()) == pytest.approx(0.2 * level, rel=0.01)


@pytest.mark.parametrize("level", [0.1, 0.4])
def test_shot_noise_counts_photons(level: float) -> None:
    made = corrupt(flat(level), "shot_noise", 2)
    torch.testing.assert_close(made * 25, (made * 25).round())
    assert float(made.mean()) == pytest.approx(level, rel=0.01)
    assert float(made.var()) == pytest.approx(level / 25, rel=0.03)


def test_impulse_noise_hits_its_share_as_often_white_as_black() -> None:
    made = corrupt(flat(0.4), "impulse_noise", 5)
    assert set(made.unique().tolist()) == {0.0, 0.4, 1.0}
    assert float((made == 0).double().mean()) == pytest.approx(0.135, abs=0.003)
    assert float((made == 1).double().mean()) == pytest.approx(0.135, abs=0.003)


@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "impulse_noise", "shot_noise"])
def test_channels_and_pixels_are_independent(name: str) -> None:
    noise = corrupt(flat(0.5), name, 1)[0] - 0.5
    noise = noise / noise.std()
    beside = (noise[:, :, 1:] * noise[:, :, :-1]).mean(), (noise[0] * noise[1]).mean()
    assert max(abs(float(each)) for each in beside) < 0.015
