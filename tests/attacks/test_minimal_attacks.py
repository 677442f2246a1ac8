"""Attacks that look for the smallest change: where it is known, and step by step with plain loops."""

import math

import pytest
import torch
from tests.attacks import linear, tiny

from archaeology.attacks import attack_images
from archaeology.attacks.method import Aim
from archaeology.attacks.nearest import SURE, Nearest, sizes, steepness, surely_wrong
from archaeology.attacks.rivals import rivals
from archaeology.attacks.victim import Victim
from archaeology.core.errors import UnknownNameError

MINIMAL = [
    ("carlini_wagner", "l2"),
    ("deep_fool", "l2"),
    ("deep_fool", "linf"),
    ("fmn", "l2"),
    ("fmn", "linf"),
]
ENOUGH = {
    "carlini_wagner": {"steps": 150, "searches": 4},
    "deep_fool": {"candidates": 4, "overshoot": 0.0},
    "fmn": {"steps": 60},
}
SLACK = {"carlini_wagner": 0.02, "deep_fool": 0.002, "fmn": 0.01}  # shares of the distance
# What follows the class that is next best can stop at its plane, where another's is nearer.
CLASSES = {"carlini_wagner": 2, "deep_fool": 5, "fmn": 2}


@pytest.fixture(scope="module")
def planes():
    specimen = linear.model()
    return specimen, *linear.told(specimen)


@pytest.fixture(scope="module")
def subject():
    specimen = tiny.cnn(torch.float64)
    return specimen, *tiny.told(specimen, 3)


@pytest.mark.parametrize("name, norm", MINIMAL)
def test_the_distance_to_a_plane(name, norm):
    specimen = linear.model(CLASSES[name])
    images, labels = linear.told(specimen)
    result = attack_images(name, specimen, images, labels, norm=norm, **ENOUGH[name])
    wanted = linear.smallest(specimen, images, labels, norm)
    assert result.success.all()
    assert (result.distances[norm] >= wanted).all()
    assert (result.distances[norm] <= wanted * (1 + SLACK[name])).all()


def asked(specimen, image, label):
    """Logits, lead of the best other class less what rounding needs, and its gradient."""
    image = image.clone().requires_grad_()
    logits = specimen.predict(image[None])[0]
    lead = max(logits[rival] for rival in range(len(logits)) if rival != label) - logits[label]
    (gradient,) = torch.autograd.grad(lead, image)
    return logits.detach(), float(lead.detach()) - SURE * float(logits.detach().abs().max()), gradient


def carlini_wagner_by_loops(specimen, image, label, constant, rate, steps, searches):
    best, least = image, math.inf
    low, high = 0.0, math.inf
    for _ in range(searches):
        w = torch.atanh((2 * image - 1) * 0.999999).requires_grad_()
        adam = torch.optim.Adam([w], rate)
        found, lowest, before = False, math.inf, math.inf
        for step in range(1, steps + 1):
            tried = (w.tanh() + 1) / 2
            logits = specimen.predict(tried[None])[0]
            lead = torch.cat([logits[:label], logits[label + 1 :]]).max() - logits[label]
            far = (tried - image).square().sum()
            missing = (SURE * logits.detach().abs().max() - lead).clamp(min=0)
            loss = far + constant * missing
            adam.zero_grad()
            loss.backward()
            adam.step()
            if float(missing.detach()) == 0:
                found = True
                if float(far.detach().sqrt()) < least:
                    best, least = tried.detach(), float(far.detach().sqrt())
            lowest = min(lowest, float(loss.detach()))
            if step % max(5, steps // 10) == 0:
                if lowest > (1 - 1e-4) * before:
                    break
                before = lowest
        if found:
            high = constant
        else:
            low = constant
        below = low if low else high / 16
        constant = math.sqrt(below * (below * 16 if math.isinf(high) else high))
    return best


@pytest.mark.parametrize("constant, searches", [(0.01, 1), (0.3, 3), (1e-4, 2)])
def test_carlini_wagner_by_loops(subject, constant, searches):
    specimen, images, labels = subject
    given = {"constant": constant, "learning_rate": 0.02, "steps": 25, "searches": searches}
    found = attack_images("carlini_wagner", specimen, images, labels, **given).images
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        wanted = carlini_wagner_by_loops(specimen, image, label, constant, 0.02, 25, searches)
        torch.testing.assert_close(found[row], wanted, rtol=0, atol=1e-7)


def test_first_guesses_suit_a_plane(planes):
    specimen, images, labels = planes
    one = attack_images("carlini_wagner", specimen, images, labels, searches=1, steps=50)
    usual = {"constant": 1e-3, "learning_rate": 0.01}
    far = attack_images("carlini_wagner", specimen, images, labels, searches=1, steps=50, **usual)
    wanted = linear.smallest(specimen, images, labels, "l2")
    assert one.success.all() and (one.distances["l2"] <= 1.2 * wanted).all()
    assert not far.success.all()


def test_carlini_wagner_leads_by_the_confidence(planes):
    specimen, images, labels = planes
    sure = attack_images("carlini_wagner", specimen, images, labels, confidence=0.5, steps=50, searches=4)
    logits = sure.logits
    own = logits.gather(1, labels[:, None])[:, 0]
    lead = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - own
    assert sure.success.all() and (lead >= 0.5).all() and (lead < 0.6).all()


def test_an_image_that_makes_no_progress_asks_no_more(subject):
    specimen, images, labels = subject
    result = attack_images("carlini_wagner", specimen, images, labels, constant=1e-9, searches=1, steps=200)
    assert not result.success.any() and (result.gradients < 100).all()
    assert torch.equal(result.images, images)


def fmn_by_loops(specimen, image, label, norm, steps, size, gamma=0.05):
    best, least, ball, tried = image, math.inf, math.inf, image
    measure = {"l2": lambda change: float(change.norm()), "linf": lambda change: float(change.abs().max())}[
        norm
    ]
    dual = {"l2": lambda change: float(change.norm()), "linf": lambda change: float(change.abs().sum())}[norm]
    largest = measure(torch.maximum(image, 1 - image))
    for step in range(steps):
        _, lead, gradient = asked(specimen, tried, label)
        far = measure(tried - image)
        share = (1 + math.cos(math.pi * step / steps)) / 2
        rate = 0.001 + (gamma - 0.001) * share
        stride = size * (0.01 + 0.99 * share)
        if lead > 0:
            if far < least:
                best, least = tried, far
            ball = min(ball * (1 - rate), least)
        elif math.isinf(least):
            guess = far + abs(lead) / dual(gradient)
            ball = guess if math.isinf(ball) else max(guess, ball * (1 + rate))
        else:
            ball = ball * (1 + rate)
        ball = min(ball, largest)
        change = tried + stride * gradient / gradient.norm() - image
        if norm == "l2":
            change = change * min(1, ball / float(change.norm()))
        else:
            change = change.clamp(-ball, ball)
        tried = (image + change).clamp(0, 1)
    return best


@pytest.mark.parametrize("norm, size", [("l2", 1.0), ("linf", 10.0), ("l2", 0.3)])
def test_fmn_by_loops(subject, norm, size):
    specimen, images, labels = subject
    given = {} if size >= 1 else {"step_size": size}
    result = attack_images("fmn", specimen, images, labels, norm=norm, steps=25, **given)
    assert result.success.any()
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        wanted = fmn_by_loops(specimen, image, label, norm, 25, size)
        torch.testing.assert_close(result.images[row], wanted, rtol=0, atol=1e-7)


def deep_fool_by_loops(specimen, image, label, norm, steps, candidates, overshoot=0.02):
    total, tried = torch.zeros_like(image), image
    for step in range(steps + 1):
        here = tried.clone().requires_grad_()
        logits = specimen.predict(here[None])[0]
        if asked(specimen, tried, label)[1] > 0:
            return tried
        if step == steps:
            return image
        ranked = [rival for rival in logits.argsort(descending=True).tolist() if rival != label]
        options = []
        for rival in ranked[:candidates]:
            lead = logits[rival] - logits[label]
            (gradient,) = torch.autograd.grad(lead, here, retain_graph=True)
            missing = SURE * float(logits.detach().abs().max()) - float(lead.detach())
            if norm == "l2":
                options.append((missing / float(gradient.norm()), gradient / gradient.norm()))
            else:
                options.append((missing / float(gradient.abs().sum()), gradient.sign()))
        far, way = min(options, key=lambda option: option[0])
        total = total + far * way
        tried = (image + (1 + overshoot) * total).clamp(0, 1)
    return None


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("candidates", [1, 3, 50])
def test_deep_fool_by_loops(subject, norm, candidates):
    specimen, images, labels = subject
    result = attack_images("deep_fool", specimen, images, labels, norm=norm, steps=7, candidates=candidates)
    assert result.success.any()
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        wanted = deep_fool_by_loops(specimen, image, label, norm, 7, candidates)
        torch.testing.assert_close(result.images[row], wanted, rtol=0, atol=1e-7)


def test_deep_fool_tries_more_than_the_next_best_class(planes):
    specimen, images, labels = planes
    one, all_of_them = (
        attack_images("deep_fool", specimen, images, labels, candidates=candidates).distances["l2"]
        for candidates in (1, 4)
    )
    assert (all_of_them <= one + 1e-9).all() and (all_of_them < 0.95 * one).any()


def test_deep_fool_counts_a_gradient_for_each_class(planes):
    specimen, images, labels = planes
    result = attack_images("deep_fool", specimen, images, labels, candidates=3)
    assert result.gradients.tolist() == [6] * len(images)  # one step to get there, one look to see it
    assert not result.evaluations.any()


def test_rivals_are_the_largest_other_logits_with_their_gradients(subject):
    specimen, images, labels = subject
    victim = Victim(specimen, images, at_once=2)
    found = rivals(victim, images, labels, torch.arange(3), 2)
    for row, label in enumerate(labels.tolist()):
        here = images[row].clone().requires_grad_()
        logits = specimen.predict(here[None])[0]
        ranked = [rival for rival in logits.argsort(descending=True).tolist() if rival != label][:2]
        for number, rival in enumerate(ranked):
            (gradient,) = torch.autograd.grad(logits[rival] - logits[label], here, retain_graph=True)
            torch.testing.assert_close(found.gradients[row, number], gradient)
            torch.testing.assert_close(found.leads[row, number], (logits[rival] - logits[label]).detach())


def test_only_what_is_wrong_and_nearer_is_kept():
    images = torch.rand(3, 3, 2, 4, dtype=torch.float64)
    aim = Aim(images, torch.tensor([0, 1, 0]), torch.full((3,), torch.inf).double(), "l2", ("a", "b", "c"))
    nearest = Nearest(aim)
    rows = torch.tensor([2, 0])
    near, far = torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0, 1.0]).double()
    nearest.keep(rows, images[rows] + 1, near, torch.tensor([True, True]))
    nearest.keep(rows, images[rows] + 2, far, torch.tensor([True, True]))
    nearest.keep(rows, images[rows] + 3, far / 2, torch.tensor([False, False]))
    assert nearest.far.tolist() == [1.0, torch.inf, 1.0]
    moved = torch.tensor([2.0, 0, 1]).double().view(3, 1, 1, 1)
    torch.testing.assert_close(nearest.images, images + moved)


def test_a_lead_within_rounding_does_not_count():
    logits = torch.tensor([[10.0, 10.0005], [10.0, 10.002], [10.0, 9.0]])
    assert surely_wrong(logits, torch.tensor([0, 0, 0])).tolist() == [False, True, False]


def test_sizes_and_steepness_are_dual():
    change = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    for norm, size, dual in (("l2", 2, 2), ("linf", math.inf, 1)):
        flat = change.flatten(1)
        torch.testing.assert_close(sizes(change, norm), torch.linalg.vector_norm(flat, ord=size, dim=1))
        torch.testing.assert_close(steepness(change, norm), torch.linalg.vector_norm(flat, ord=dual, dim=1))


@pytest.mark.parametrize(
    "name, given, words",
    [
        ("carlini_wagner", {"steps": 0}, "steps must be at least 1"),
        ("carlini_wagner", {"searches": 0}, "searches must be at least 1"),
        ("carlini_wagner", {"learning_rate": 0.0}, "learning_rate must be a finite number above 0"),
        ("carlini_wagner", {"constant": -1.0}, "constant must be a finite number above 0"),
        ("carlini_wagner", {"confidence": -0.1}, "confidence must be at least 0"),
        ("carlini_wagner", {"epsilon": 0.1}, "takes no epsilon"),
        ("carlini_wagner", {"norm": "linf"}, "carlini_wagner works in the norm l2"),
        ("fmn", {"steps": 0}, "steps must be at least 1"),
        ("fmn", {"step_size": float("inf")}, "step_size must be a finite number above 0"),
        ("fmn", {"gamma": 1.0}, "gamma must lie between 0 and 1"),
        ("deep_fool", {"steps": 0}, "steps must be at least 1"),
        ("deep_fool", {"candidates": 0}, "candidates must be at least 1"),
        ("deep_fool", {"overshoot": -0.1}, "overshoot must be a share of at least 0"),
    ],
)
def test_wrong_parameters(planes, name, given, words):
    specimen, images, labels = planes
    with pytest.raises(ValueError, match=words):
        attack_images(name, specimen, images, labels, **given)


@pytest.mark.parametrize("name", ["carlini_wagner", "deep_fool", "fmn"])
def test_a_model_without_gradients(name, planes):
    class Steps(torch.nn.Module):
        def forward(self, pixels):
            return (pixels.detach() > 0).to(pixels.dtype).mean(dim=(2, 3)) + 0.1

    specimen = linear.Specimen("steps", Steps(), "other", (), linear.SIZE)
    images = planes[1]
    labels = specimen.predict(images).argmax(dim=1)
    with pytest.raises(ValueError, match="steps must be differentiable in its images"):
        attack_images(name, specimen, images, labels)


def test_unknown_parameter(planes):
    specimen, images, labels = planes
    with pytest.raises(UnknownNameError, match="did you mean 'constant'"):
        attack_images("carlini_wagner", specimen, images, labels, constants=1.0)
