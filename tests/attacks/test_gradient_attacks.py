"""FGSM, PGD and Auto-PGD, image by image with plain loops."""

import pytest
import torch
from tests.attacks import tiny

from archaeology.attacks import attack_images
from archaeology.attacks.apgd import Front, checkpoints
from archaeology.attacks.losses import LOSSES
from archaeology.attacks.norms import NORMS, random_start
from archaeology.core.seeding import content_names, torch_generator

EPSILON = {"linf": 0.02, "l2": 0.3}
TIGHT = {"rtol": 0, "atol": 1e-7}


@pytest.fixture(scope="module")
def subject():
    specimen = tiny.cnn(torch.float64)
    return specimen, *tiny.told(specimen, 5)


def asked(specimen, image, label, loss):
    """Loss, gradient and whether the model is wrong, of one image."""
    image = image.clone().requires_grad_()
    logits = specimen.predict(image[None])
    value = LOSSES[loss](logits, label[None])[0]
    return float(value.detach()), torch.autograd.grad(value, image)[0], bool(logits.argmax() != label)


def up(gradient, norm):
    return gradient.sign() if norm == "linf" else gradient / gradient.norm()


def back(image, original, epsilon, norm):
    change = image - original
    if norm == "linf":
        change = change.clamp(-epsilon, epsilon)
    elif change.norm() > epsilon:
        change = change * epsilon / change.norm()
    return (original + change).clamp(0, 1)


def begin(image, epsilon, norm, *purpose):
    generator = torch_generator(0, "attack", *purpose, content_names(image[None])[0])
    drawn = torch.randn(image.shape, generator=generator).to(image)
    return random_start(drawn[None], image[None], torch.tensor([epsilon], dtype=image.dtype), norm)[0]


def pgd_by_loops(specimen, image, label, norm, steps, loss="cross_entropy", start=True):
    epsilon = EPSILON[norm]
    here = begin(image, epsilon, norm, "start", 0) if start else image
    for _ in range(steps):
        _, gradient, wrong = asked(specimen, here, label, loss)
        if wrong:
            break
        here = back(here + 2.5 / steps * epsilon * up(gradient, norm), image, epsilon, norm)
    return here


def apgd_by_loops(specimen, image, label, norm, steps, loss):
    """Algorithm 1 of the paper for one image."""
    epsilon = EPSILON[norm]
    here = before = best = begin(image, epsilon, norm, "start", 0)
    value, gradient, wrong = asked(specimen, here, label, loss)
    best_value, best_gradient, at_check, halved = value, gradient, value, True
    stride, rises, window, since = 2 * epsilon, 0, max(int(0.22 * steps), 1), 0
    for step in range(steps):
        if wrong:
            return here
        ahead = back(here + stride * up(gradient, norm), image, epsilon, norm)
        share = 1.0 if step == 0 else 0.75
        moved = back(here + share * (ahead - here) + (1 - share) * (here - before), image, epsilon, norm)
        before, here, last = here, moved, value
        value, gradient, wrong = asked(specimen, here, label, loss)
        rises, since = rises + (value > last), since + 1
        if value > best_value:
            best, best_value, best_gradient = here, value, gradient
        if since == window:
            halved = rises <= 0.75 * window or (not halved and at_check >= best_value)
            at_check, rises, since = best_value, 0, 0
            window = max(window - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
            if halved and not wrong:
                stride, here, value, gradient = stride / 2, best, best_value, best_gradient
    return here if wrong else best


@pytest.mark.parametrize("norm", NORMS)
def test_fgsm_is_one_step_of_full_size(subject, norm):
    specimen, images, labels = subject
    result = attack_images("fgsm", specimen, images, labels, epsilon=EPSILON[norm], norm=norm)
    for row in range(5):
        _, gradient, _ = asked(specimen, images[row], labels[row], "cross_entropy")
        wanted = back(images[row] + EPSILON[norm] * up(gradient, norm), images[row], EPSILON[norm], norm)
        torch.testing.assert_close(result.images[row], wanted, **TIGHT)
    assert result.gradients.tolist() == [1] * 5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_pgd_as_in_loops(subject, norm, loss):
    specimen, images, labels = subject
    result = attack_images(
        "pgd", specimen, images, labels, epsilon=EPSILON[norm], norm=norm, steps=7, loss=loss
    )
    assert 0 < result.success.sum() < 5  # some are broken early, some never
    for row in range(5):
        wanted = pgd_by_loops(specimen, images[row], labels[row], norm, 7, loss)
        torch.testing.assert_close(result.images[row], wanted, **TIGHT)


def test_pgd_from_the_image_itself(subject):
    specimen, images, labels = subject
    result = attack_images("pgd", specimen, images, labels, epsilon=0.02, steps=3, start="image")
    for row in range(5):
        wanted = pgd_by_loops(specimen, images[row], labels[row], "linf", 3, start=False)
        torch.testing.assert_close(result.images[row], wanted, **TIGHT)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_apgd_as_in_loops(subject, norm, loss):
    specimen, images, labels = subject
    result = attack_images(
        "apgd", specimen, images, labels, epsilon=EPSILON[norm], norm=norm, steps=17, loss=loss
    )
    assert 0 < result.success.sum() < 5
    for row in range(5):
        wanted = apgd_by_loops(specimen, images[row], labels[row], norm, 17, loss)
        torch.testing.assert_close(result.images[row], wanted, **TIGHT)


def test_checkpoints_of_a_hundred_steps_are_those_of_the_paper():
    windows = checkpoints(100)
    wanted = [(22, 22), (41, 19), (57, 16), (70, 13), (80, 10), (87, 7), (93, 6), (99, 6)]
    assert [pair for pair in windows.items() if pair[0] <= 100] == wanted


def test_an_image_goes_back_where_the_loss_rose_too_seldom_or_the_best_has_not_risen():
    old, new, best = (torch.full((5, 3, 1, 1), value) for value in (0.1, 0.2, 0.3))
    front = Front(
        rows=torch.arange(5), original=old, labels=torch.zeros(5, dtype=torch.long), epsilon=torch.ones(5),
        images=new, before=old, gradient=new, loss=torch.zeros(5), wrong=torch.zeros(5, dtype=torch.bool),
        best=best, best_loss=torch.ones(5), best_gradient=best, stride=torch.full((5,), 2.0),
        rises=torch.tensor([3, 4, 4, 4, 0]), best_at_check=torch.tensor([0.5, 0.5, 1.0, 1.0, 0.5]),
        halved=torch.tensor([False, False, False, True, True]),
    )  # fmt: skip
    front.check(
        4
    )  # 3 of 4 is too few; and the best of rows 2 and 3 is no better, but row 3 was sent back last time
    assert front.stride.tolist() == [1, 2, 1, 2, 1] and front.halved.tolist() == [
        True,
        False,
        True,
        False,
        True,
    ]
    for now in (front.images, front.gradient):
        assert torch.equal(now[front.halved], best[front.halved])
    assert torch.equal(front.before, old)  # where it came from still counts
    assert torch.equal(front.images[~front.halved], new[~front.halved])
    assert front.loss.tolist() == [1, 0, 1, 0, 1] and front.rises.tolist() == [0] * 5
    assert front.best_at_check.tolist() == [1] * 5


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_what_is_broken_is_asked_no_more(subject, name):
    specimen, images, labels = subject
    steps = 7
    result = attack_images(name, specimen, images, labels, epsilon=0.02, steps=steps)
    assert (result.gradients[~result.success] == steps).all()
    assert (result.evaluations[~result.success] == 1).all()
    assert (result.gradients[result.success] < steps).any()


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_restarts_begin_elsewhere_and_only_with_what_stands(subject, name):
    specimen, images, labels = subject
    one = attack_images(name, specimen, images, labels, epsilon=0.02, steps=3)
    more = attack_images(name, specimen, images, labels, epsilon=0.02, steps=3, restarts=3)
    assert (more.success | ~one.success).all()
    assert torch.equal(one.images[one.success], more.images[one.success])
    assert (more.gradients[~more.success] == 9).all()
    assert not torch.equal(more.images[~more.success], one.images[~more.success])


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_a_second_loss_is_climbed_by_what_stands(subject, name):
    specimen, images, labels = subject
    both = [
        attack_images(name, specimen, images, labels, epsilon=0.02, steps=3, second_loss=second)
        for second in (None, "margin")
    ]
    one, more = both
    assert one.success.any() and torch.equal(one.images[one.success], more.images[one.success])
    assert (more.success | ~one.success).all() and not more.success.all()
    assert (one.gradients[~more.success] == 3).all() and (more.gradients[~more.success] == 6).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"steps": 0}, "steps must be at least 1, but got steps=0"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"step_size": 0.0}, "step_size must be a share of epsilon above 0, such as 0.125"),
        ({"start": "zero"}, "start must be random, or image"),
        ({"start": "image", "restarts": 2}, "all would be the same"),
    ],
)
def test_numbers_out_of_range_are_refused(subject, parameters, words):
    specimen, images, labels = subject
    with pytest.raises(ValueError, match=words):
        attack_images("pgd", specimen, images, labels, epsilon=0.1, **parameters)


@pytest.mark.parametrize("name", ["pgd", "apgd", "fgsm"])
def test_epsilon_of_nothing_changes_nothing(subject, name):
    specimen, images, labels = subject
    result = attack_images(name, specimen, images, labels, epsilon=0.0)
    assert torch.equal(result.images, images) and not result.success.any()
