"""Square Attack: squares value by value, and the whole search image by image with plain loops."""

import math

import pytest
import torch
from tests.attacks import tiny
from torch import nn

from archaeology.attacks import attack_images
from archaeology.attacks.method import Aim
from archaeology.attacks.nearest import SURE
from archaeology.attacks.square import AHEAD, PLACES, bumped, side_of, with_bump, with_square
from archaeology.attacks.square_shapes import bump, hill, placed, window
from archaeology.core.seeding import content_names, torch_generator
from archaeology.specimens.specimen import Specimen


@pytest.fixture(scope="module")
def subject():
    specimen = tiny.cnn(torch.float64)
    return specimen, *tiny.told(specimen, 4)


def source(image):
    return torch_generator(0, "attack", "square", content_names(image[None])[0])


def sign(number):
    return 1.0 if number >= 0.5 else -1.0


def lead(specimen, image, label):
    logits = specimen.predict(image[None])[0].tolist()
    others = [value for number, value in enumerate(logits) if number != label]
    return max(others) - logits[label] - SURE * max(abs(value) for value in logits)


def square_by_loops(specimen, image, label, epsilon, queries):
    drawing = source(image)
    channels, height, width = image.shape
    stripes = torch.rand((channels, 1, width), generator=drawing)
    best = image.clone()
    for c in range(channels):
        for j in range(width):
            best[c, :, j] += epsilon * sign(float(stripes[c, 0, j]))
    best = best.clamp(0, 1)
    most, asked = lead(specimen, best, label), 1
    while most <= 0 and asked < queries:
        number = (asked - 1) % AHEAD
        if number == 0:
            drawn = torch.rand((AHEAD, PLACES + channels), generator=drawing, dtype=torch.float64)
        spent = (asked - 1) * 10000 // queries
        halvings = sum(spent > limit for limit in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
        side = min(max(round(math.sqrt(0.8 / 2**halvings * height * width)), 1), height, width)
        numbers = drawn[number].tolist()
        top, left = int(numbers[0] * (height - side + 1)), int(numbers[1] * (width - side + 1))
        tried = best.clone()
        for c in range(channels):
            for i in range(top, top + side):
                for j in range(left, left + side):
                    tried[c, i, j] = min(
                        max(float(image[c, i, j]) + epsilon * sign(numbers[PLACES + c]), 0), 1
                    )
        found = lead(specimen, tried, label)
        asked += 1
        if found > most:
            best, most = tried, found
    return best, asked


def test_square_by_loops(subject):
    specimen, images, labels = subject
    epsilon = torch.tensor([0.02, 0.1, 0.2, 0.3], dtype=torch.float64)
    result = attack_images("square", specimen, images, labels, epsilon=epsilon, queries=70)
    assert result.success.any() and not result.success.all()
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        wanted, asked = square_by_loops(specimen, image, label, float(epsilon[row]), 70)
        torch.testing.assert_close(result.images[row], wanted, rtol=0, atol=1e-7)
        assert int(result.evaluations[row]) == asked


def margins(result):
    own = result.logits.gather(1, result.labels[:, None])[:, 0]
    return result.logits.scatter(1, result.labels[:, None], -torch.inf).amax(dim=1) - own


@pytest.mark.parametrize("norm, most", [("linf", 0.3), ("l2", 3.0)])
def test_queries_help_and_no_gradient_is_asked_for(subject, norm, most):
    specimen, images, labels = subject
    epsilon = most * torch.tensor([0.05, 0.3, 0.6, 1.0], dtype=torch.float64)
    few, many = (
        attack_images("square", specimen, images, labels, epsilon=epsilon, norm=norm, queries=queries)
        for queries in (1, 60)
    )
    stands = ~few.success
    assert stands.any() and (margins(many)[stands] > margins(few)[stands]).all()
    assert (few.evaluations == 1).all() and (many.evaluations[few.success] == 1).all()
    assert (many.evaluations[~many.success] == 60).all() and not many.gradients.any()


def test_every_value_goes_up_or_down_by_epsilon(subject):
    specimen, images, labels = subject
    result = attack_images("square", specimen, images, labels, epsilon=0.03, queries=40)
    up, down = (images + 0.03).clamp(max=1), (images - 0.03).clamp(min=0)
    assert torch.minimum((result.images - up).abs(), (result.images - down).abs()).max() < 1e-6


def test_it_works_where_there_are_no_gradients():
    class Counts(nn.Module):
        def forward(self, pixels):
            bright = (pixels.detach() > 0).to(pixels.dtype).mean(dim=(2, 3))
            return bright @ torch.tensor([[1.0, 0.2, 0.1], [0.1, 1.0, 0.3], [0.0, 0.5, 1.0]])

    specimen = Specimen("counts", Counts(), "other", (), (7, 5))
    images = torch.rand(3, 3, 7, 5, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4
    labels = specimen.predict(images).argmax(dim=1)
    result = attack_images("square", specimen, images, labels, epsilon=0.1, queries=60)
    assert result.success.any()


@pytest.mark.parametrize(
    "spent, halvings", [(0, 0), (10, 0), (11, 1), (51, 2), (501, 4), (4001, 7), (8001, 9)]
)
def test_sides_fall_as_the_authors_let_them(spent, halvings):
    image = torch.zeros(1, 3, 32, 32)
    assert side_of(0.8, spent, 10000, image) == max(round(math.sqrt(0.8 / 2**halvings) * 32), 1)
    assert side_of(0.8, spent // 10, 1000, image) >= side_of(0.8, spent, 10000, image)


def hill_by_loops(height, width):
    """As the paper writes it: squares one in another, each adding 1 / k^2, from the middle outwards."""
    shape = torch.zeros(height, width, dtype=torch.float64)
    for ring in range(max(height // 2, width // 2) + 1):
        for i in range(height):
            for j in range(width):
                if abs(i - height // 2) <= ring and abs(j - width // 2) <= ring:
                    shape[i, j] += 1 / (ring + 1) ** 2
    return shape / math.sqrt(float((shape**2).sum()))


@pytest.mark.parametrize("height, width", [(1, 1), (1, 3), (2, 5), (3, 7), (6, 13)])
def test_hills_by_loops(height, width):
    torch.testing.assert_close(hill(height, width), hill_by_loops(height, width))


@pytest.mark.parametrize("side", [1, 2, 3, 7])
def test_a_bump_has_length_one_and_goes_up_and_down(side):
    shape = bump(side, torch.zeros(1, dtype=torch.float64))
    assert shape.shape == (side, side) and float(shape.norm()) == pytest.approx(1)
    assert (shape[: side // 2] > 0).all() and (side == 1 or (shape[side // 2 :] < 0).all())


def test_squares_and_shapes_lie_where_they_should():
    images = torch.zeros(2, 3, 5, 7)
    top, left = torch.tensor([0, 2]), torch.tensor([4, 1])
    shape = torch.arange(1.0, 10).view(3, 3)
    mask, put = window(images, top, left, 3), placed(shape, (top, left), images)
    for row, (i, j) in enumerate([(0, 4), (2, 1)]):
        assert mask[row, 0, i : i + 3, j : j + 3].all() and int(mask[row].sum()) == 9
        assert torch.equal(put[row, 0, i : i + 3, j : j + 3], shape) and float(put[row].sum()) == 45


def aim_of(norm, epsilon):
    images = 0.4 + 0.2 * torch.rand(
        2, 3, 9, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    size = torch.tensor([epsilon, 2 * epsilon], dtype=torch.float64)
    return Aim(images, torch.tensor([0, 1]), size, norm, ("a", "b"))


def test_bumps_spend_all_of_epsilon():
    aim = aim_of("l2", 0.3)
    start = bumped(aim, [torch_generator(0, name) for name in aim.names])
    drawn = torch.rand(2, PLACES + 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = with_bump(start, aim, drawn, 4)
    for images in (start, moved):
        torch.testing.assert_close((images - aim.images).flatten(1).norm(dim=1), aim.epsilon)
    assert not torch.equal(start, moved)


def test_one_bump_by_hand():
    aim = aim_of("l2", 0.3)
    change = 0.01 * torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    drawn = torch.rand(2, PLACES + 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = with_bump(aim.images + change, aim, drawn, 4)  # an even side grows to 5
    for row in range(2):
        numbers, epsilon, old = drawn[row].tolist(), float(aim.epsilon[row]), change[row]
        (i, j), (k, m) = ((int(numbers[n] * 5), int(numbers[n + 1] * 7)) for n in (0, 2))
        both = torch.zeros(9, 11, dtype=torch.bool)
        both[i : i + 5, j : j + 5] = both[k : k + 5, m : m + 5] = True
        shape = bump(5, old)
        shape = shape if numbers[4] < 0.5 else shape.T
        new = old.clone()
        new[:, k : k + 5, m : m + 5] = 0
        for c in range(3):
            here = old[c, i : i + 5, j : j + 5]
            mixed = shape * sign(numbers[PLACES + c]) + here / here.norm()
            room = max(epsilon**2 - float((old**2).sum()), 0) / 3 + float((old[c][both] ** 2).sum())
            new[c, i : i + 5, j : j + 5] = mixed / mixed.norm() * math.sqrt(room)
        torch.testing.assert_close(found[row] - aim.images[row], new * epsilon / new.norm())


def test_one_square_leaves_all_else():
    aim = aim_of("linf", 0.05)
    drawn = torch.rand(2, PLACES + 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    changed = with_square(aim.images, aim, drawn, 4) != aim.images
    assert changed.flatten(1).sum(dim=1).tolist() == [48, 48]


@pytest.mark.parametrize(
    "given, words",
    [
        ({"queries": 0}, "queries must be at least 1"),
        ({"share": 0.0}, "share of the area must lie above 0"),
        ({"share": 1.1}, "share of the area must lie above 0 and be at most 1, but got share=1.1"),
    ],
)
def test_wrong_parameters(subject, given, words):
    specimen, images, labels = subject
    with pytest.raises(ValueError, match=words):
        attack_images("square", specimen, images, labels, epsilon=0.1, **given)
