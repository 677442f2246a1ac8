"""Scores of redrawn signals: what is perfect, what leaving all as it is costs, and an example worked out by hand."""

import math

import pytest
import torch

from archaeology.data.worlds import Shapes1D, Shapes1DBatch
from archaeology.data.worlds.shapes1d import Shapes1DLayout
from archaeology.data.worlds.shapes1d_scores import fitted_amplitudes, scores


@pytest.fixture(scope="module")
def batch() -> Shapes1DBatch:
    return Shapes1D().generate(0, 17)


@pytest.fixture(scope="module")
def hand() -> Shapes1DBatch:
    """Rectangles of height 0.25 and 0.75, two and three samples wide, and a triangle at 0.5, two wide."""
    layout = Shapes1DLayout(
        kind=torch.tensor([[1, 0, 1, -1]]),
        span=torch.tensor([[[2.0, 4.0], [6.0, 8.0], [10.0, 13.0], [0.0, 0.0]]]),
        amplitude=torch.tensor([[0.25, 0.5, 0.75, 0.0]]),
        noise=torch.zeros(1, 0),
    )
    return Shapes1D(length=24, num_shapes=(1, 4), widths=(2.0, 3.0)).drawn(layout)


def values(batch: Shapes1DBatch, prediction: torch.Tensor) -> dict[str, float]:
    return {name: ratio.value for name, ratio in scores(batch, prediction).items()}


def test_perfect_is_zero(batch: Shapes1DBatch) -> None:
    found = values(batch, batch.target)
    assert found["mse"] == 0 and found["iou"] == 1
    assert found["amplitude_error"] == pytest.approx(0, abs=1e-6)


def test_leaving_the_input_as_it_is_costs_one(batch: Shapes1DBatch) -> None:
    assert values(batch, batch.input)["amplitude_error"] == pytest.approx(1, abs=1e-6)


def test_half_way_to_the_mean_costs_a_half(batch: Shapes1DBatch) -> None:
    found = values(batch, (batch.input + batch.target) / 2)
    assert found["amplitude_error"] == pytest.approx(0.5, abs=1e-6)


def test_an_empty_prediction(batch: Shapes1DBatch) -> None:
    found = values(batch, torch.zeros_like(batch.input))
    exists = batch.kind >= 0
    away = (batch.amplitude - batch.mean).abs()[exists].double().sum()
    assert found["amplitude_error"] == pytest.approx(float(batch.mean.double().sum() / away), rel=1e-6)
    assert found["iou"] == 0
    assert found["mse"] == pytest.approx(float((batch.target.double() ** 2).mean()), rel=1e-9)


def test_by_hand(hand: Shapes1DBatch) -> None:
    """Targets: rectangles at 0.5, the triangle's two cells at 0.25."""
    prediction = torch.zeros(1, 24)
    prediction[0, 2], prediction[0, 3] = 0.25, 0.5  # fitted 0.375, should be 0.5
    prediction[0, 6] = 0.5  # fitted 0.5 * 0.5 / (0.25 + 0.25) = 0.5, as it should be
    prediction[0, 10:13] = 0.75  # fitted 0.75, should be 0.5
    prediction[0, 20] = 1.0  # belongs to no shape
    prediction[0, 21] = 0.05  # too faint to count as drawn
    assert fitted_amplitudes(hand, prediction)[0].tolist() == [0.375, 0.5, 0.75, 0]
    found = scores(hand, prediction)
    assert found["amplitude_error"].part.tolist() == [0.125 + 0 + 0.25]
    assert found["amplitude_error"].whole.tolist() == [0.25 + 0 + 0.25]
    squares = 0.25**2 + 0 + 0.25**2 + 0.25**2 + 3 * 0.25**2 + 1 + 0.05**2
    assert found["mse"].part.tolist() == pytest.approx([squares], abs=1e-8)
    assert found["mse"].whole.tolist() == [24]
    # Drawn in both: cells 2, 3, 6, 10, 11, 12; in either, cells 7 and 20 as well.
    assert (found["iou"].part.tolist(), found["iou"].whole.tolist()) == ([6], [8])


def test_what_lies_off_the_shapes_leaves_the_amplitudes_alone(batch: Shapes1DBatch) -> None:
    prediction = batch.target + 3 * (batch.owner < 0)
    found = values(batch, prediction)
    assert found["amplitude_error"] == pytest.approx(0, abs=1e-6)
    assert found["mse"] == pytest.approx(9 * float((batch.owner < 0).double().mean()), rel=1e-6)
    wanted = batch.target > 0.05
    drawn = wanted | (batch.owner < 0)
    assert found["iou"] == pytest.approx(float(wanted.sum() / drawn.sum()), rel=1e-6)


def test_amplitudes_are_a_least_squares_fit(batch: Shapes1DBatch) -> None:
    noise = torch.randn(batch.input.shape, generator=torch.Generator().manual_seed(0))
    prediction = batch.input + noise
    fitted = fitted_amplitudes(batch, prediction)
    for i in range(len(batch)):
        for shape in range(batch.kind.shape[1]):
            own = batch.owner[i] == shape
            if not own.any():
                assert float(fitted[i, shape]) == 0
                continue
            unit, wanted = batch.unit[i, own].double(), prediction[i, own].double()
            solved = torch.linalg.lstsq(unit[:, None], wanted[:, None]).solution
            assert float(fitted[i, shape]) == pytest.approx(float(solved), rel=1e-9)


def test_one_sample_alone_scores_as_in_the_batch(batch: Shapes1DBatch) -> None:
    prediction = batch.input * 0.9 + 0.01
    together = scores(batch, prediction)
    for i in range(len(batch)):
        alone = scores(batch.part(i, i + 1), prediction[i : i + 1])
        for name, ratio in together.items():
            torch.testing.assert_close(alone[name].part[0], ratio.part[i], msg=name)
            torch.testing.assert_close(alone[name].whole[0], ratio.whole[i], msg=name)


def test_a_signal_with_nothing_to_average_has_no_say() -> None:
    batch = Shapes1D(num_shapes=(1, 1)).generate(0, 3)
    found = scores(batch, batch.input)["amplitude_error"]
    assert found.whole.tolist() == [0, 0, 0]
    assert math.isnan(found.value)


def test_scoring_keeps_no_gradients_and_leaves_the_random_state(batch: Shapes1DBatch) -> None:
    before = torch.get_rng_state()
    found = scores(batch, batch.input.clone().requires_grad_())
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(ratio.part.requires_grad for ratio in found.values())


def test_half_precision_is_judged_in_full(batch: Shapes1DBatch) -> None:
    found = values(batch, batch.target.bfloat16())
    assert 0 < found["amplitude_error"] < 0.02 and found["iou"] > 0.99
