"""The geometry of attacks, value by value in loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archaeology.attacks.norms import (
    NORMS,
    check_norm,
    distances,
    in_eight_bits,
    project,
    random_start,
    steepest,
)
from archaeology.core.errors import UnknownNameError


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def case(scale=1.0):
    original = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return original, original + scale * drawn(2, 3, 5, 7), torch.tensor([0.3, 1.1], dtype=torch.float64)


def test_projection_to_the_box_value_by_value():
    original, images, epsilon = case()
    found = project(images, original, epsilon, "linf")
    for index in torch.cartesian_prod(*(torch.arange(size) for size in images.shape)).tolist():
        old, new, most = float(original[*index]), float(images[*index]), float(epsilon[index[0]])
        wanted = min(max(old + min(max(new - old, -most), most), 0.0), 1.0)
        assert float(found[*index]) == pytest.approx(wanted, abs=1e-15)


def test_projection_to_the_ball_image_by_image():
    original, images, epsilon = case(0.5)
    images[1] = original[1] + (images[1] - original[1]) * 0.01  # within the ball already
    found = project(images, original, epsilon, "l2")
    for row in range(2):
        change = (images[row] - original[row]).flatten().tolist()
        length = math.sqrt(sum(value * value for value in change))
        share = min(float(epsilon[row]) / length, 1.0)
        wanted = [
            min(max(old + share * by, 0.0), 1.0)
            for old, by in zip(original[row].flatten().tolist(), change, strict=True)
        ]
        torch.testing.assert_close(found[row].flatten(), torch.tensor(wanted).double(), rtol=0, atol=1e-7)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.floats(0, 60), st.floats(0.001, 100), st.sampled_from(NORMS), st.integers(0, 5))
def test_nothing_leaves_the_ball_or_the_unit_range_in_float32(epsilon, scale, norm, seed):
    original = torch.rand(2, 3, 23, 29, generator=torch.Generator().manual_seed(seed))
    most = torch.tensor([epsilon, epsilon / 3])
    found = project(original + scale * drawn(2, 3, 23, 29, dtype=torch.float32), original, most, norm)
    assert found.min() >= 0 and found.max() <= 1
    far = distances(found, original)[norm]
    assert (far <= most.double() + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_projecting_twice_is_projecting_once(norm):
    original, images, epsilon = case()
    once = project(images, original, epsilon, norm)
    torch.testing.assert_close(project(once, original, epsilon, norm), once, rtol=0, atol=1e-12)


def test_the_steepest_step_gains_most_of_all_steps_of_norm_one():
    gradient = drawn(2, 3, 5, 7)
    best = {norm: (steepest(gradient, norm) * gradient).sum(dim=(1, 2, 3)) for norm in NORMS}
    torch.testing.assert_close(best["linf"], gradient.abs().sum(dim=(1, 2, 3)))  # the dual norm of each
    torch.testing.assert_close(best["l2"], gradient.square().sum(dim=(1, 2, 3)).sqrt())
    torch.testing.assert_close(
        steepest(gradient, "l2").flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64)
    )


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_no_step(norm):
    assert torch.equal(steepest(torch.zeros(2, 3, 5, 7), norm), torch.zeros(2, 3, 5, 7))


def test_random_starts_fill_the_box_evenly_and_lie_on_the_ball():
    original = torch.full((2, 3, 23, 29), 0.5, dtype=torch.float64)
    epsilon = torch.tensor([0.1, 0.2], dtype=torch.float64)
    values = drawn(2, 3, 23, 29)
    change = (random_start(values, original, epsilon, "linf") - original) / epsilon.view(-1, 1, 1, 1)
    assert change.abs().max() <= 1
    quarters = torch.histc(change, 4, -1, 1) / change.numel()
    torch.testing.assert_close(quarters, torch.full((4,), 0.25, dtype=torch.float64), rtol=0, atol=0.03)
    far = distances(random_start(values, original, epsilon, "l2"), original)["l2"]
    torch.testing.assert_close(far, epsilon)


def test_distances_value_by_value():
    original, images, _ = case()
    images[1, :, 2:4] = original[1, :, 2:4]  # 14 of 35 pixels stay
    images[1, 1:, 4] = original[1, 1:, 4]  # one channel is enough to change a pixel
    found = distances(images, original)
    for row in range(2):
        change = (images[row] - original[row]).flatten().tolist()
        assert float(found["linf"][row]) == pytest.approx(max(abs(value) for value in change))
        assert float(found["l1"][row]) == pytest.approx(sum(abs(value) for value in change))
        assert float(found["l2"][row]) == pytest.approx(math.sqrt(sum(value**2 for value in change)))
    assert found["l0"].tolist() == [35, 21]


def test_an_unknown_norm_gets_the_near_miss():
    with pytest.raises(UnknownNameError, match="No norm is called 'linff'; did you mean 'linf'"):
        check_norm("linff")


def test_in_eight_bits_the_nearest_level_or_the_next_towards_the_original():
    original = torch.tensor([[10, 20, 30, 40]]).view(1, 1, 2, 2) / 255
    changed = original + torch.tensor([[1.5, -1.5, 1.3, -0.2]]).view(1, 1, 2, 2) / 255
    found = in_eight_bits(changed, original, torch.tensor([1.6 / 255]), "linf")
    torch.testing.assert_close((found * 255).flatten(), torch.tensor([11.0, 19.0, 31.0, 40.0]))
    wide = in_eight_bits(changed, original, torch.tensor([2 / 255]), "linf")
    assert set((wide * 255 - original * 255).abs().round().flatten().tolist()) <= {0.0, 1.0, 2.0}
    length = float((changed - original).norm())
    near = in_eight_bits(changed, original, torch.tensor([length]), "l2")
    assert float((near - original).norm()) <= length + 1e-6
