"""The smallest changes and Square Attack against foolbox, ART and torchattacks: no farther, no weaker."""

import numpy as np
import pytest
import torch
from tests.attacks import tiny
from torch import nn

from archaeology.attacks import attack_images
from archaeology.specimens.specimen import Specimen


class Normalised(nn.Module):
    def __init__(self, specimen: Specimen):
        super().__init__()
        self.model = specimen.model
        self.mean, self.std = (torch.tensor(of).view(1, 3, 1, 1) for of in (specimen.mean, specimen.std))

    def forward(self, images):
        return self.model((images - self.mean) / self.std)


@pytest.fixture(scope="module")
def subject():
    specimen = tiny.cnn()
    images = 0.2 + 0.6 * tiny.images(specimen, 7)
    return specimen, images, specimen.predict(images).detach().argmax(dim=1)


def distances(specimen, original, images, labels, norm):
    """Of images that the model is wrong about; infinite where it is right."""
    with torch.no_grad():
        right = specimen.predict(images.clamp(0, 1)).argmax(dim=1) == labels
    far = torch.linalg.vector_norm((images - original).flatten(1), ord=2 if norm == "l2" else np.inf, dim=1)
    return far.masked_fill(right, torch.inf)


FOOLBOX = {
    ("carlini_wagner", "l2"): ("L2CarliniWagnerAttack", {"binary_search_steps": 6, "steps": 40}, {}, 1.02),
    ("deep_fool", "l2"): ("L2DeepFoolAttack", {"steps": 20}, {"steps": 20, "candidates": 6}, 1.05),
    ("deep_fool", "linf"): ("LinfDeepFoolAttack", {"steps": 20}, {"steps": 20, "candidates": 6}, 1.05),
    ("fmn", "l2"): ("L2FMNAttack", {"steps": 40}, {"steps": 40}, 1.02),
    ("fmn", "linf"): ("LInfFMNAttack", {"steps": 40}, {"steps": 40}, 1.02),
}


@pytest.mark.parametrize("name, norm", FOOLBOX)
def test_no_farther_than_foolbox(subject, name, norm):
    foolbox = pytest.importorskip("foolbox")
    specimen, images, labels = subject
    theirs, their_parameters, parameters, slack = FOOLBOX[name, norm]
    model = foolbox.PyTorchModel(Normalised(specimen).eval(), bounds=(0, 1), device="cpu")
    changed = getattr(foolbox.attacks, theirs)(**their_parameters)(model, images, labels, epsilons=None)[0]
    found = attack_images(name, specimen, images, labels, norm=norm, **parameters)
    mine = distances(specimen, images, found.images, labels, norm)
    peer = distances(specimen, images, changed.detach(), labels, norm)
    assert found.success.sum() >= peer.isfinite().sum()
    assert mine.median() <= slack * peer.median()


def test_no_farther_than_art(subject):
    evasion = pytest.importorskip("art.attacks.evasion")
    classification = pytest.importorskip("art.estimators.classification")
    specimen, images, labels = subject
    model = classification.PyTorchClassifier(
        Normalised(specimen).eval(),
        nn.CrossEntropyLoss(),
        (3, 9, 11),
        tiny.CLASSES,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = evasion.CarliniL2Method(model, binary_search_steps=4, max_iter=5, batch_size=7, verbose=False)
    changed = torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))
    found = attack_images("carlini_wagner", specimen, images, labels)
    peer = distances(specimen, images, changed, labels, "l2")
    assert found.success.sum() >= peer.isfinite().sum()
    assert distances(specimen, images, found.images, labels, "l2").median() <= 1.01 * peer.median()


def test_square_breaks_as_many_as_torchattacks(subject):
    torchattacks = pytest.importorskip(
        "torchattacks", reason="torchattacks is not in the lock; install it to compare"
    )
    specimen, images, labels = subject
    for epsilon in (0.01, 0.03):
        attack = torchattacks.Square(Normalised(specimen).eval(), eps=epsilon, n_queries=150, seed=0)
        changed = attack(images, labels)
        theirs = int(distances(specimen, images, changed, labels, "linf").isfinite().sum())
        found = attack_images("square", specimen, images, labels, epsilon=epsilon, queries=150)
        assert int(found.success.sum()) >= theirs - 1  # both are random
