"""Recipes that learn from an adversary, end to end: what they withstand is measured and written on the card."""

import json

import numpy as np
import pytest
import torch

from archaeology.data.cache import DecodedImages, decode_once
from archaeology.data.open import open_source
from archaeology.recipes import run_recipe
from archaeology.recipes.check import check_recipe
from archaeology.recipes.images import robust_accuracy
from archaeology.specimens.run import load_run
from archaeology.specimens.specimen import Specimen


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))


SHORT = {"batch_size": 20, "epochs": 2, "device": "cpu", "dtype": "float32"}


def test_what_is_withstood_is_on_the_card(data, tmp_path):
    run_recipe("convnet_cifar10_robust", tmp_path / "run", overrides=SHORT, data=data)
    specimen = load_run(tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "config.json").read_text())["facts"]
    test = decode_once(open_source(data, split="test"), (32, 32))
    reached = robust_accuracy(specimen, test, 8 / 255, 20)
    told = facts["robust_accuracy"]
    assert told["attack"] == "pgd, 20 steps, linf, epsilon 8/255"
    assert (told["value"], told["n"]) == (reached.value, 40)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["robust_accuracy"] == told and run["config"]["adversarial"] == "pgd"
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    glances = [line for line in map(json.loads, lines) if "robust_accuracy_glance" in line]
    assert len(glances) == 2 and all(0 <= line["robust_accuracy_glance"] <= 1 for line in glances)


def test_without_an_adversary_nothing_is_attacked(data, tmp_path):
    run_recipe("convnet_cifar10", tmp_path / "run", overrides={**SHORT, "epochs": 1}, data=data)
    assert "robust_accuracy" not in (tmp_path / "run" / "run.json").read_text()
    assert "robust_accuracy" not in (tmp_path / "run" / "metrics.jsonl").read_text()


class Brightness(torch.nn.Module):
    """Says "bright" of images whose mean is above one half, by as much as it is."""

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


def test_robust_accuracy_counts_what_no_step_within_epsilon_can_turn():
    means = np.array(
        [77, 102, 117, 135, 143, 179, 133], dtype=np.uint8
    )  # of 255: 0.30, 0.40, 0.46, 0.53, ...
    pixels = np.broadcast_to(means[:, None, None, None], (7, 3, 4, 5)).copy()
    labels = np.array([0, 0, 0, 1, 1, 1, 0])  # the last one is misread from the start
    names = tuple(map(str, range(7)))
    test = DecodedImages(pixels, labels, names, ("dark", "bright"), None, None, (), "0", "greys", None)
    specimen = Specimen("brightness", Brightness(), "other", ("dark", "bright"), (4, 5))
    for epsilon, expected in [(0.02, 6), (0.05, 4), (0.15, 2), (0.25, 0)]:
        for batch_size in (7, 3):
            reached = robust_accuracy(specimen, test, epsilon, 8, batch_size=batch_size)
            assert (round(reached.value * 7), reached.n) == (expected, 7)


def test_the_model_is_left_as_it_was(data):
    test = decode_once(open_source(data, split="test"), (32, 32)).take(8, seed=0)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(3072, 10))
    specimen = Specimen("small", model.train(), "other", test.classes, (32, 32))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.get_rng_state()
    robust_accuracy(specimen, test, 0.1, 2)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_one_batch_is_learned_by_heart_without_an_adversary(data):
    found = check_recipe("convnet_cifar10_robust", data=data, overrides={**SHORT, "batch_size": 10})
    assert found.accuracy == 1
