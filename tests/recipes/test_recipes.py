"""A recipe end to end on a handful of images: what it saves is what it measured, and its card says so."""

import json

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.models import build
from archaeology.recipes import Recipe, recipes, run_recipe
from archaeology.recipes.images import accuracy
from archaeology.specimens.run import load_run


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))


SHORT = {"batch_size": 20, "epochs": 2, "device": "cpu", "weights": "bfloat16"}


@pytest.mark.parametrize("name", ["vit_cifar10", "convnet_cifar10"])
def test_what_is_saved_is_what_was_measured(name, data, tmp_path):
    result = run_recipe(name, tmp_path / "run", overrides=SHORT, data=data)
    specimen = load_run(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    recorded = config["facts"]["test_accuracy"]
    assert recorded["value"] == result.accuracy.value and recorded["n"] == 40
    from archaeology.data.cache import decode_once
    from archaeology.data.open import open_source

    test = decode_once(open_source(data, split="test"), (32, 32))
    assert accuracy(specimen, test).value == result.accuracy.value
    assert specimen.classes[3] == "colour 3"
    assert config["facts"]["seed"] == 0 and "state" not in config["facts"]
    assert f"{result.accuracy.value:.4f}" in (tmp_path / "run" / "README.md").read_text()
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1]["step"] == 4 and "test_accuracy_glance" in steps[-1]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["batch_size"] == 20 and run["trained"]["steps"] == 4
    assert len(run["weights"]["sha256"]) == 64


def test_patches_are_dropped_as_the_recipe_says(data, tmp_path, monkeypatch):
    from archaeology.models.vit import ViT

    seen = []
    drop = ViT.drop_patches
    monkeypatch.setattr(
        ViT, "drop_patches", lambda self, patches: seen.append(self.patch_keep) or drop(self, patches)
    )
    run_recipe("vit_cifar10", tmp_path / "run", overrides={**SHORT, "epochs": 5}, data=data)
    assert {0.4, 0.6, 1.0} <= set(seen)


def test_every_recipe_builds_and_starts():
    for name in recipes:
        recipe = recipes.get(name)()
        assert recipes.get(name).__doc__
        if not isinstance(recipe, Recipe) or recipe.start is None:
            continue  # sequences have tests of their own
        model = build(recipe.architecture, {**recipe.arguments, "num_classes": 8})
        size = recipe.arguments["image_size"]
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        recipe.start(model, torch.randn(50, 3, size, size), torch.Generator().manual_seed(0))
        changed = [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])]
        assert changed


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UnknownNameError, match=r"No recipe is called 'vit'; did you mean 'vit_"):
        run_recipe("vit", tmp_path)
    with pytest.raises(ValueError, match="batch_size"):
        run_recipe("vit_cifar10", tmp_path, overrides={"batch_size": 0})
    with pytest.raises(
        ValueError, match=r"cue_conflict is generated, so --data must be left out, but got 'folder:x'"
    ):
        run_recipe("vit_cue_conflict", tmp_path, data="folder:x")
