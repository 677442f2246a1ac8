"""What every attack owes its caller, whichever it is: found through the registry."""

from pathlib import Path

import pytest
import torch
from tests.attacks import tiny

import archaeology.attacks as package
from archaeology.attacks import attack_images, attacks
from archaeology.attacks.method import all_parameters
from archaeology.attacks.norms import SLACK, distances, in_eight_bits

SHORT = {"steps": 5, "queries": 30, "searches": 2, "band": "high"}  # what an attack has of these, made small
MODELS = {"cnn": tiny.cnn, "vit": tiny.vit}


def short(name):
    """Parameters that make an attack quick."""
    known = attack_parameters(name)
    return {key: value for key, value in SHORT.items() if key in known}


def attack_parameters(name):
    return all_parameters(name, attacks.get(name), {})


def run(name, specimen, images, labels, norm=None, seed=0, larger=1.0, **parameters):
    size = larger * {"linf": 0.1, "l2": 1.5}[norm or attacks.get(name).norms[0]]
    bound = {"epsilon": size} if attacks.get(name).bounded else {}
    given = short(name) | parameters
    return attack_images(name, specimen, images, labels, norm=norm, seed=seed, **bound, **given)


@pytest.fixture(params=attacks.names())
def name(request):
    return request.param


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


def test_within_epsilon_and_the_unit_range_and_judged_afresh(name, model):
    specimen = model()
    images, labels = tiny.told(specimen, 5)
    labels[4] = (labels[4] + 1) % tiny.CLASSES
    for norm in attacks.get(name).norms:
        result = run(name, specimen, images, labels, norm)
        assert result.attack == name and result.norm == norm and torch.equal(result.original, images)
        assert result.images.shape == images.shape and result.images.dtype == images.dtype
        assert result.images.isfinite().all() and result.images.min() >= 0 and result.images.max() <= 1
        assert (result.distances[norm] <= result.epsilon.double() + SLACK).all()
        with torch.no_grad():
            said = specimen.predict(result.images)
            stored = in_eight_bits(result.images, images, result.epsilon, norm)
            rounded = specimen.predict(stored).argmax(dim=1)
        kept = distances(stored, images)[norm] <= result.epsilon.double() + SLACK
        torch.testing.assert_close(result.logits, said)
        assert torch.equal(result.success, said.argmax(dim=1) != labels)
        assert torch.equal(result.success_8bit, result.success & (rounded != labels) & kept)
        assert result.success[4] and result.distances["l0"][4] == 0  # wrong before
        assert result.gradients[4] == result.evaluations[4] == 0


def test_it_breaks_something_here(name):
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 23)
    longer = {"steps": 40} if "steps" in attack_parameters(name) else {}
    assert run(name, specimen, images, labels, larger=3.0, **longer).success.any()


def test_questions_are_counted(name, model):
    specimen = model()
    images, labels = tiny.told(specimen, 3)
    result = run(name, specimen, images, labels)
    assert (result.gradients + result.evaluations > 0).all()
    assert attacks.get(name).uses_gradients or not result.gradients.any()


def test_the_same_answer_twice_and_alone_as_in_any_batch(name, model):
    specimen = model(torch.float64)
    images, labels = tiny.told(specimen, 4)
    together = run(name, specimen, images, labels)
    again = run(name, specimen, images.flip(0), labels.flip(0), at_once=3)
    torch.testing.assert_close(again.images.flip(0), together.images, rtol=0, atol=1e-6)
    for row in range(4):
        alone = run(name, specimen, images[row : row + 1], labels[row : row + 1])
        torch.testing.assert_close(alone.images[0], together.images[row], rtol=0, atol=1e-6)
        assert alone.success[0] == together.success[row]
        assert alone.gradients[0] == together.gradients[row]
        assert alone.evaluations[0] == together.evaluations[row]


def test_everything_is_left_as_it_was(name, model):
    specimen = model()
    images, labels = tiny.told(specimen, 3)
    first, *others = specimen.model.parameters()
    first.requires_grad_(False)
    for parameter in others:
        parameter.grad = torch.ones_like(parameter)
    kept, given = images.clone(), labels.clone()
    before, state = specimen.fingerprint(), torch.get_rng_state()
    flags = [module.training for module in specimen.model.modules()]
    run(name, specimen, images, labels)
    assert torch.equal(images, kept) and torch.equal(labels, given)
    assert specimen.fingerprint() == before and torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in specimen.model.modules()] == flags
    assert not first.requires_grad and first.grad is None
    assert all(one.requires_grad and torch.equal(one.grad, torch.ones_like(one)) for one in others)
    assert not any(module._forward_hooks for module in specimen.model.modules())


def test_it_runs_where_gradients_are_off(name):
    specimen = tiny.cnn()
    images, labels = tiny.told(specimen, 2)
    with torch.no_grad():
        off = run(name, specimen, images, labels)
    assert torch.equal(off.images, run(name, specimen, images, labels).images)


def test_a_model_with_two_classes_is_attacked(name):
    specimen = tiny.cnn()
    specimen.model[-1] = torch.nn.Linear(13, 2).requires_grad_(False)
    specimen.model[-1].weight.copy_(torch.linspace(-20, 20, 26).view(2, 13))
    specimen.model[-1].bias.zero_()
    images, labels = tiny.told(specimen, 3)
    assert run(name, specimen, images, labels).images.isfinite().all()


def test_every_file_of_an_attack_is_exported():
    folder = Path(package.__file__).parent
    for file in folder.glob("*.py"):
        if "@attack(" in file.read_text():
            assert hasattr(package, file.stem), f"{file.stem} is missing in attacks/__init__.py"
