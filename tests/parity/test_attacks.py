"""FGSM, PGD and Auto-PGD against foolbox, ART and torchattacks: the same images, or no fewer broken ones."""

import numpy as np
import pytest
import torch
from tests.attacks import tiny
from torch import nn

from archaeology.attacks import attack_images
from archaeology.specimens.specimen import Specimen

EPSILON = {"linf": 0.01, "l2": 0.1}
STEPS, STRIDE = 4, 0.3


class Normalised(nn.Module):
    def __init__(self, specimen):
        super().__init__()
        self.model = specimen.model
        self.mean, self.std = (torch.tensor(of).view(1, 3, 1, 1) for of in (specimen.mean, specimen.std))

    def forward(self, images):
        return self.model((images - self.mean) / self.std)


@pytest.fixture(scope="module")
def subject():
    specimen = tiny.cnn()
    images = (
        0.25 + tiny.images(specimen, 5) / 2
    )  # far from 0 and 1: ART cuts to [0, 1] first, then to the ball
    with torch.no_grad():
        return specimen, images, specimen.predict(images).argmax(dim=1)


def of_foolbox(subject, name, norm):
    foolbox = pytest.importorskip("foolbox")
    specimen, images, labels = subject
    model = foolbox.PyTorchModel(Normalised(specimen).eval(), bounds=(0, 1), device="cpu")
    kinds = {
        ("fgsm", "linf"): lambda: foolbox.attacks.LinfFastGradientAttack(),
        ("fgsm", "l2"): lambda: foolbox.attacks.L2FastGradientAttack(),
        ("pgd", "linf"): lambda: foolbox.attacks.LinfPGD(
            rel_stepsize=STRIDE, steps=STEPS, random_start=False
        ),
        ("pgd", "l2"): lambda: foolbox.attacks.L2PGD(rel_stepsize=STRIDE, steps=STEPS, random_start=False),
    }
    return kinds[name, norm]()(model, images, labels, epsilons=EPSILON[norm])[1]


def of_art(subject, name, norm):
    evasion = pytest.importorskip("art.attacks.evasion")
    classification = pytest.importorskip("art.estimators.classification")
    specimen, images, labels = subject
    model = classification.PyTorchClassifier(
        Normalised(specimen).eval(),
        nn.CrossEntropyLoss(),
        (3, 9, 11),
        7,
        clip_values=(0, 1),
        device_type="cpu",
    )
    same = {"norm": {"linf": np.inf, "l2": 2}[norm], "eps": EPSILON[norm], "batch_size": 5}
    if name == "fgsm":
        attack = evasion.FastGradientMethod(model, **same)
    else:
        attack = evasion.ProjectedGradientDescent(
            model, eps_step=STRIDE * EPSILON[norm], max_iter=STEPS, num_random_init=0, verbose=False, **same
        )
    return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))


def of_torchattacks(subject, name, norm):
    package = pytest.importorskip(
        "torchattacks", reason="torchattacks pins an old requests; it is not in the lock"
    )
    specimen, images, labels = subject
    model, epsilon = Normalised(specimen).eval(), EPSILON[norm]
    walk = {"eps": epsilon, "alpha": STRIDE * epsilon, "steps": STEPS, "random_start": False}
    kinds = {
        ("fgsm", "linf"): lambda: package.FGSM(model, eps=epsilon),
        ("pgd", "linf"): lambda: package.PGD(model, **walk),
        ("pgd", "l2"): lambda: package.PGDL2(model, **walk),
    }
    return kinds[name, norm]()(images, labels)


CASES = [
    (other, name, norm)
    for other in (of_foolbox, of_art, of_torchattacks)
    for name in ("fgsm", "pgd")
    for norm in EPSILON
    if (other, name, norm) != (of_torchattacks, "fgsm", "l2")  # which it does not have
]


@pytest.mark.parametrize(("other", "name", "norm"), CASES)
def test_the_same_images(subject, other, name, norm):
    specimen, images, labels = subject
    walk = {"steps": STEPS, "step_size": STRIDE, "start": "image"} if name == "pgd" else {}
    result = attack_images(name, specimen, images, labels, epsilon=EPSILON[norm], norm=norm, **walk)
    theirs = other(subject, name, norm)
    same = (
        ~result.success if name == "pgd" else torch.ones(5, dtype=torch.bool)
    )  # ours stops where it has won
    assert same.sum() >= 2
    torch.testing.assert_close(result.images[same], theirs[same], rtol=0, atol=2e-6)


def trained():
    """A small CNN that has learnt four classes of noisy stripes well enough that attacks break some of them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(160) % 4
    across = torch.arange(12) * torch.tensor([1.0, 1.6, 2.3, 3.1])[labels, None]
    images = 0.5 + 0.12 * torch.sin(across)[:, None, None] * torch.ones(160, 3, 12, 12)
    images = (images + 0.06 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4),
        )  # fmt: skip
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model((images - 0.5) / 0.5), labels).backward()
            optimizer.step()
    return (
        Specimen("stripes", model.eval().requires_grad_(False), "convolutional", (), (12, 12)),
        images,
        labels,
    )


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.03), ("l2", 0.3)])
@pytest.mark.parametrize(("loss", "theirs"), [("cross_entropy", "ce"), ("dlr", "dlr")])
def test_auto_pgd_breaks_no_fewer_than_torchattacks(norm, epsilon, loss, theirs):
    package = pytest.importorskip(
        "torchattacks", reason="torchattacks pins an old requests; it is not in the lock"
    )
    specimen, images, labels = trained()
    result = attack_images("apgd", specimen, images, labels, epsilon=epsilon, norm=norm, steps=20, loss=loss)
    model = Normalised(specimen).eval()
    attack = package.APGD(model, norm=norm.capitalize(), eps=epsilon, steps=20, n_restarts=1, loss=theirs)
    with torch.no_grad():
        standing = int((model(attack(images, labels)).argmax(dim=1) == labels).sum())
    ours = int((~result.success).sum())
    assert 16 < ours < 144  # neither hopeless nor easy
    assert ours <= standing + 1
