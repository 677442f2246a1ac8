"""From images without labels to a classifier that anyone can open: a linear head, and runs that go on and are kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from archaeology.core.seeding import torch_generator
from archaeology.data.cache import decode_once
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.models import ImageText, ViT
from archaeology.recipes import image_text_cue_conflict as contrastive
from archaeology.recipes import recipes, run_recipe
from archaeology.recipes.linear_head import fit_head, nearest_mean_accuracy
from archaeology.recipes.self_supervised import ViewBatches
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from archaeology.training.runtime import Runtime

CHEAP = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
UNLABELLED = ["vit_cifar10_self_distilled", "vit_cifar10_masked"]


@pytest.fixture
def small_recipes(monkeypatch, tmp_path):
    """The recipes with a small encoder, on small scenes."""
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))

    def scenes(seed):
        return decode_once(CueConflict("random", seed=seed, num_images=64, size=32), (32, 32))

    original = recipes.get

    def get(name):
        made = original(name)()
        changed = replace(
            made,
            arguments={**CHEAP, "pooling": made.arguments["pooling"]},
            training_images=lambda _: (scenes(1),),
            test_images=lambda _: scenes(0),
        )
        return lambda: changed

    monkeypatch.setattr(recipes, "get", get)


@pytest.mark.parametrize("name", UNLABELLED)
def test_a_run_without_labels_opens_as_a_classifier(name, small_recipes, tmp_path):
    result = run_recipe(name, tmp_path / "run", overrides={"epochs": 2, "batch_size": 32, "threads": 1})
    specimen = load(f"run:{tmp_path / 'run'}", device="cpu")
    assert isinstance(specimen.model, ViT) and len(specimen.classes) == 8
    assert bool(specimen.model.head.weight.any()) and 0 <= result.accuracy.value <= 1
    assert "nearest_mean_accuracy_glance" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_small_crops_stay_small():
    """A model that is shown every crop in one size learns from another task, four times as slowly."""
    recipe = recipes.get(UNLABELLED[0])()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    specimen = Specimen(
        "any", ViT(**CHEAP, num_classes=2), "other", ("a", "b"), (32, 32), recipe.mean, recipe.std
    )
    config = recipe.config.model_copy(update={"batch_size": 4})
    batches = ViewBatches(specimen, images, recipe.views, config, Runtime(torch.device("cpu")))
    (large, small), which = next(iter(batches(0)))
    assert large.shape == (4, 2, 3, 24, 24) and small.shape == (4, 4, 3, 16, 16)
    views = recipe.views(images[which], torch_generator(config.seed, "views", 0, 0, 0))
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (specimen.mean, specimen.std))
    torch.testing.assert_close(large, (views[0] / 255 - mean) / std)


@pytest.mark.parametrize("option", ["teacher", "origin"])
def test_nobody_else_has_a_say(option, small_recipes, tmp_path):
    with pytest.raises(ValueError, match=f"--{option} must be left out"):
        run_recipe(UNLABELLED[0], tmp_path / "run", **{option: "bundled:vit_cifar10"})


def test_the_encoder_learns(small_recipes, tmp_path):
    overrides = {"epochs": 1, "batch_size": 32, "threads": 1}
    run_recipe(UNLABELLED[1], tmp_path / "a", overrides=overrides)
    run_recipe(UNLABELLED[1], tmp_path / "b", overrides={**overrides, "learning_rate": 1e-9})
    one, other = (load(f"run:{tmp_path / name}", device="cpu").model.blocks[0] for name in "ab")
    assert not torch.allclose(one.mlp[0].weight, other.mlp[0].weight, atol=1e-4)


def test_the_head_is_scikit_learns():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 300)
    features = (draw.normal(size=(300, 5)) + np.eye(3, 5)[labels] * 2) * [1, 5, 0.1, 1, 1] + [0, 3, 0, 0, 0]
    encoder = torch.nn.Module()
    encoder.head = torch.nn.Linear(5, 3)
    strength = fit_head(encoder, features.astype(np.float32), labels)
    scaled = (features - features.mean(0)) / features.std(0)
    truth = LogisticRegression(C=strength, max_iter=500).fit(scaled, labels)
    said = encoder.head(torch.from_numpy(features).float()).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(said, truth.predict_proba(scaled), atol=0.01)


def test_a_head_for_two_classes_and_for_a_class_without_images():
    draw = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = (draw.normal(size=(60, 3)) + 3 * labels[:, None]).astype(np.float32)
    encoder = torch.nn.Module()
    encoder.head = torch.nn.Linear(3, 2)
    fit_head(encoder, features, labels)
    assert (encoder.head(torch.from_numpy(features)).argmax(1).numpy() == labels).mean() > 0.8
    encoder.head = torch.nn.Linear(3, 4)
    with pytest.raises(ValueError, match=r"of \[2, 3\] there is none"):
        fit_head(encoder, features, labels)


def test_nearest_mean_by_hand():
    known = np.array([[1.0, 0.1], [2.0, 0.0], [0.0, 3.0]])
    found = nearest_mean_accuracy(
        known, np.array([4, 4, 7]), np.array([[5.0, 1.0], [1.0, 5.0]]), np.array([4, 4])
    )
    assert found == 0.5


def test_pairs_held_out_are_never_trained_on_and_all_else_is():
    (images, tokens), _ = next(contrastive_stream(1, 224, 0))
    assert images.shape == (224, 3, 64, 64) and float(images.min()) >= -1 and float(images.max()) <= 1
    words = contrastive_recipe().arguments["words"]
    known = ["", "END", *words]
    said = [" ".join(known[number] for number in row if number > 1) for row in tokens.tolist()]
    module = contrastive_module()
    names = [
        f"{module.TEXTURE_WORDS[module.TEXTURE_NAMES[texture]]} {module.SHAPE_NAMES[shape]}"
        for shape, texture in module.HELD_OUT
    ]
    assert len(names) == 8 and not [text for text in said for name in names if name in text]
    assert len({text.split(" ")[2] for text in said}) == 8  # every shape, with other textures
    held, shape, texture = module.examples(20, True)
    assert held.shape[0] == 20
    assert {(int(a), int(b)) for a, b in zip(shape, texture, strict=True)} <= set(module.HELD_OUT)


def test_streams_go_on_where_they_were():
    first = contrastive_stream(3, 100, 0)
    next(first)
    (images, tokens), _ = next(first)
    (again, tokens_again), _ = next(contrastive_stream(3, 100, 1))
    assert torch.equal(images, again) and torch.equal(tokens, tokens_again) and len(images) == 100


def test_scores_of_a_model_that_knows_nothing_are_near_chance():
    torch.manual_seed(0)
    model = ImageText(**contrastive_recipe().arguments).eval()
    scores = contrastive_recipe().score(model, 64)
    assert scores["named of 64 pairs, pair never seen"].value < 0.15
    assert {len(score.part) for score in scores.values()} == {64}


def contrastive_module():
    import importlib

    return importlib.import_module("archaeology.recipes.image_text_cue_conflict")


def contrastive_recipe():
    return contrastive()


def contrastive_stream(*arguments):
    return contrastive_recipe().stream(*arguments)
