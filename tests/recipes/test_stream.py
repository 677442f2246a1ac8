"""A run on made-up examples can be read back, says whether its promise was kept, and refuses what is not one."""

import json

import numpy as np
import pytest
import torch

from archaeology.core.intervals import bootstrap_ratio
from archaeology.recipes import load_trained, run_recipe
from archaeology.recipes.recipe import Promise
from archaeology.specimens.load import load

SHORT = {"epochs": 0.02, "threads": 1}


def test_promises_say_which_way_is_better():
    assert Promise("mse", 0.1).holds(0.1) and not Promise("mse", 0.1).holds(0.11)
    assert Promise("iou", 0.9, is_upper=False).holds(0.95)
    assert not Promise("iou", 0.9, is_upper=False).holds(0.8)
    assert not Promise("mse", 0.1).holds(float("nan"))
    assert Promise("iou", 0.9, is_upper=False).sentence() == "iou at least 0.9"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "reverse"
    return run_recipe("reverse_sequence", out, overrides=SHORT)


def test_what_is_saved_is_what_was_scored(run):
    model, recipe = load_trained(run.folder)
    with torch.no_grad():
        again = recipe.score(model, 1_000)
    assert again["mse"].value == pytest.approx(run.scores["mse"].value, rel=1e-6)
    document = json.loads((run.folder / "run.json").read_text())
    assert document["scores"]["mse"]["value"] == run.scores["mse"].value
    assert document["trained"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert document["trained"]["cpu_seconds"] > 0 and document["recipe"] == "reverse_sequence"


def test_same_seed_same_run(run, tmp_path):
    again = run_recipe("reverse_sequence", tmp_path, overrides=SHORT)
    assert again.scores["mse"] == run.scores["mse"]


def test_it_is_no_specimen(run):
    with pytest.raises(ValueError, match=r"must hold an image classifier, but reverse_sequence redraws"):
        load(f"run:{run.folder}")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config.json; make one with archaeology train"):
        load_trained(tmp_path)


def test_a_run_of_images(tmp_path):
    (tmp_path / "config.json").write_text('{"format": 1, "architecture": "vit"}')
    with pytest.raises(ValueError, match=r"must hold a model trained on made-up examples.*'vit'"):
        load_trained(tmp_path)


def test_ratio_intervals_are_those_of_resampled_sums():
    generator = np.random.default_rng(0)
    whole = generator.uniform(0, 2, 301)
    part = 0.3 * whole + 0.05 * generator.normal(size=301)
    found = bootstrap_ratio(part, whole)
    assert found.value == pytest.approx(part.sum() / whole.sum()) and found.n == 301
    loops = []
    for _ in range(2000):
        rows = generator.integers(0, 301, 301)
        loops.append(part[rows].sum() / whole[rows].sum())
    low, high = np.quantile(loops, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=6e-4) and found.high == pytest.approx(high, abs=6e-4)


def test_a_share_of_nothing_is_not_a_number():
    nothing = bootstrap_ratio(np.zeros(5), np.zeros(5))
    assert np.isnan(nothing.value) and nothing.n == 5
    with pytest.raises(ValueError, match="same samples, but got 2 and 3"):
        bootstrap_ratio(np.zeros(2), np.zeros(3))
