"""Patches: where they go, that nothing else changes, and that they climb."""

import pytest
import torch
from tests.attacks import tiny

from archaeology.attacks import attack_images
from archaeology.attacks.losses import LOSSES
from archaeology.attacks.patch_places import Cells, masks, ranked, window_energy, windows
from archaeology.core.errors import UnknownNameError
from archaeology.specimens.layout import TokenLayout


@pytest.fixture(scope="module")
def cnn():
    specimen = tiny.cnn(torch.float64)
    return specimen, *tiny.told(specimen, 4)


@pytest.fixture(scope="module")
def vit():
    specimen = tiny.vit(torch.float64)
    return specimen, *tiny.told(specimen, 4)


def changed(result):
    return ((result.images - result.original).abs().amax(dim=1) > 0).float()


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("patches", [1, 2])
def test_nothing_outside_the_squares_changes(cnn, side, patches):
    result = attack_images("patch", *cnn, side=side, patches=patches, steps=4)
    assert (result.distances["l0"] <= patches * side**2).all() and (result.distances["l0"] > 0).all()
    for mask in changed(result):
        rows, columns = mask.nonzero().unbind(1)
        if patches == 1:
            assert rows.max() - rows.min() < side and columns.max() - columns.min() < side


def test_patches_of_a_transformer_are_its_own(vit):
    result = attack_images("patch", *vit, patches=2, steps=4)
    for mask in changed(result):
        touched = mask.unflatten(0, (2, 3)).unflatten(2, (3, 3)).amax(dim=(1, 3))
        assert 1 <= int(touched.sum()) <= 2


def test_larger_patches_break_more(cnn):
    shares = [int(attack_images("patch", *cnn, side=side, steps=15).success.sum()) for side in (1, 9)]
    assert shares[0] < shares[1] == 4


def test_more_tries_break_no_less_and_only_what_stands(cnn):
    one, many = (attack_images("patch", *cnn, side=2, tries=tries, steps=6) for tries in (1, 4))
    assert (many.success >= one.success).all()
    same = one.success
    assert torch.equal(many.gradients[same], one.gradients[same])
    assert (many.gradients[~same] > one.gradients[~same]).all()


def patch_by_loops(specimen, image, label, side, steps, size):
    """One try with one square: where the squared gradient is largest, then signs of gradients."""

    def slope(tried):
        tried = tried.clone().requires_grad_()
        loss = LOSSES["margin"](specimen.predict(tried[None]), torch.tensor([label]))[0]
        return float(loss.detach()), torch.autograd.grad(loss, tried)[0]

    energy, best = slope(image)[1].square().sum(0), (-1.0, 0, 0)
    for i in range(image.shape[1] - side + 1):
        for j in range(image.shape[2] - side + 1):
            best = max(best, (float(energy[i : i + side, j : j + side].sum()), i, j))
    _, top, left = best
    tried = image.clone()
    for step in range(steps):
        lead, gradient = slope(tried)
        if lead > 1e-6:
            return tried
        stride = 1.0 if step == 0 else size * (1 - step / steps)
        for c in range(3):
            for i in range(top, top + side):
                for j in range(left, left + side):
                    up = stride * float(gradient[c, i, j].sign())
                    tried[c, i, j] = min(max(float(tried[c, i, j]) + up, 0.0), 1.0)
    return tried


def test_patch_by_loops(cnn):
    specimen, images, labels = cnn
    result = attack_images("patch", *cnn, side=3, tries=1, steps=6, step_size=0.2)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        wanted = patch_by_loops(specimen, image, label, 3, 6, 0.2)
        torch.testing.assert_close(result.images[row], wanted, rtol=0, atol=1e-7)


def test_random_places_differ_by_seed_and_are_worse_chosen(cnn):
    first, again, other = (
        attack_images("patch", *cnn, side=3, place="random", tries=1, steps=2, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.images, again.images)
    assert not torch.equal(changed(first), changed(other))


def test_energy_is_the_mean_square_within_each_place():
    gradient = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cells = Cells(2, 3, 2, 3)
    found = window_energy(gradient, cells)
    assert found.shape == (2, 2, 2)
    for image, row, column in torch.cartesian_prod(*(torch.arange(2),) * 3).tolist():
        place = gradient[image, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
        assert float(found[image, row, column]) == pytest.approx(float(place.square().sum()) / 6)


def test_best_places_first_and_none_overlap():
    worth = torch.tensor([[[1.0, 9, 8, 2, 7], [3, 6, 5, 4, 0]]])
    corners = ranked(worth, Cells(2, 2, 1, 1), 1, 3)
    assert corners[0, :, 0].tolist() == [[0, 1], [0, 4], [-1, -1]]  # 8 and the rest overlap one of them
    inside = masks(corners[:, 0], Cells(2, 2, 1, 1), torch.zeros(1, 3, 3, 6))
    assert inside[0, 0].nonzero().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_what_a_place_is():
    images = torch.zeros(1, 3, 8, 12)
    assert windows(images, 5, None) == Cells(5, 5, 1, 1)
    assert windows(images, None, None) == Cells(2, 2, 1, 1)
    assert windows(images, None, TokenLayout(2, 3, ("class",))) == Cells(4, 4, 4, 4)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"side": 10}, "side must be a number of pixels from 1 to 9, as images are 9 x 11, but got side=10"),
        ({"side": 0}, "side must be a number of pixels from 1"),
        ({"side": 5, "patches": 7}, "there must be room for patches=7 that do not overlap"),
        ({"patches": 0}, "patches must be at least 1"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"step_size": 0.0}, "step_size must be a finite number above 0"),
        ({"epsilon": 0.1}, "takes no epsilon"),
    ],
)
def test_wrong_parameters(cnn, given, words):
    with pytest.raises(ValueError, match=words):
        attack_images("patch", *cnn, **given)


def test_unknown_ways(cnn):
    with pytest.raises(UnknownNameError, match="way to choose places"):
        attack_images("patch", *cnn, place="attention")
    with pytest.raises(UnknownNameError, match="loss"):
        attack_images("patch", *cnn, loss="hinge")


def test_a_grid_that_does_not_divide_the_images():
    with pytest.raises(ValueError, match="which must divide images of 8 x 13; give side"):
        windows(torch.zeros(1, 3, 8, 13), None, TokenLayout(2, 3, ("class",)))
